"""The admin's login: it limits the tries of an address, because each costs a slow hash.

It is not in the admin's package, because the site imports it before any page is registered.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.forms import AuthenticationForm

from seckill.web.shared import services

# Tries per second and burst of one address. Behind a proxy all users share them.
RATE, BURST = 0.5, 20


class LoginForm(AuthenticationForm):
    """Counts each try before it checks the password. Successful ones count too; they are few."""

    def clean(self) -> dict[str, Any]:
        """The values. Raises ValidationError."""
        assert self.request is not None
        verdict = services.count_call([f"login:{services.address_of(self.request)}"], RATE, BURST)
        if verdict is not None and not verdict.allowed:
            raise ValidationError(
                _("Too many tries from your address; try again in %(seconds)s s.")
                % {"seconds": verdict.retry_after_s}
            )
        values: dict[str, Any] = super().clean()
        return values
