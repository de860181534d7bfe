"""Creates credentials: operators' logins and API keys. Each secret is shown only once."""

import secrets

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from seckill.models import ApiKey

# Random bytes of a generated password: 96 bits.
PASSWORD_BYTES = 12


class Unusable(Exception):
    """A name or a password that is not allowed. The message is for a person."""


def make_admin(username: str, password: str | None = None) -> str:
    """Create or update the superuser of this name. Returns the password; without one it makes one.

    Raises Unusable for a bad name or a weak password, and changes nothing then.
    """
    user = User.objects.filter(username=username).first() or User(username=username)
    try:
        user.clean_fields(exclude=["password"])
        if password is not None:
            validate_password(password, user)
    except ValidationError as wrong:
        raise Unusable(" ".join(wrong.messages)) from None
    chosen = password if password is not None else secrets.token_urlsafe(PASSWORD_BYTES)
    user.is_superuser = user.is_staff = user.is_active = True
    user.set_password(chosen)
    user.save()
    return chosen


def make_api_key(name: str, *, can_steer: bool) -> str:
    """Create a key under a new name, and return it. Raises Unusable."""
    row = ApiKey(name=name, can_steer=can_steer)
    key = row.renew()
    try:
        row.full_clean()
    except ValidationError as wrong:
        raise Unusable(" ".join(wrong.messages)) from None
    row.save()
    return key
