"""What Django's debug page (`SECKILL_DEBUG=1`) shows of an error: where it happened, and no secret.

Django hides settings by their names alone, and with DEBUG it shows each variable of each frame.
"""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

# Settings of ours with addresses, and our environment: `runserver` gives it to each request.
OURS = "LOCATION|^SECKILL_"


class NoSecrets(SafeExceptionReporterFilter):
    """Frames without variables; settings, headers and what was sent without what may be secret."""

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|COOKIE|{OURS}", re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        """See Django, which shows a form's password with DEBUG."""
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """See Django, which asks the page's view what is secret."""
        sent = {} if request is None else request.POST
        return {name: self.cleanse_setting(name, value) for name, value in sent.items()}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        """None: an address has any name, and is a part of any object."""
        nothing: dict[str, Any] = {}
        return nothing.items()
