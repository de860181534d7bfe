"""What a browser may load and run on our pages: the content security policy of each kind of page.

Never allowed: inline script, script or style from other sites, frames around our pages, forms to
other sites. The admin needs two exceptions, both for unfold. Alpine.js evaluates expressions in its
attributes ('unsafe-eval'), and a few elements have a style attribute.
"""

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

STRICT = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
}
ADMIN = {
    **STRICT,
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src-attr": [UNSAFE_INLINE],
}


class ContentPolicy(CSPMiddleware):
    """Adds the policy to each response."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """The strict policy of the settings, or the admin's."""
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only and request.path_info.startswith("/admin/"):
            parts.config = ADMIN
        return parts
