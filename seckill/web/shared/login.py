"""The log-in of the admin: so many tries of an address, since each costs a slow hash.

Not in the admin's package: the site imports it while it is made, before anything is registered.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.forms import AuthenticationForm

from seckill.web.shared import services

# Tries a second of one address, and at once. Behind a proxy all people share them.
RATE, BURST = 0.5, 20


class LoginForm(AuthenticationForm):
    """Counts a try before it looks at the password; right ones too, which are few."""

    def clean(self) -> dict[str, Any]:
        """The values, or why not."""
        assert self.request is not None
        verdict = services.count_call([f"login:{services.address_of(self.request)}"], RATE, BURST)
        if verdict is not None and not verdict.allowed:
            raise ValidationError(
                _("Too many tries from your address; the next one in %(seconds)s s.")
                % {"seconds": verdict.retry_after_s}
            )
        values: dict[str, Any] = super().clean()
        return values
