"""Making the credentials: logins of operators and API keys, each shown at this one moment."""

import secrets

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from seckill.models import ApiKey

# Characters of a generated password: 96 bits.
PASSWORD_BYTES = 12


class Unusable(Exception):
    """A name or a password that cannot be taken. The message is for a person."""


def make_admin(username: str, password: str | None = None) -> str:
    """A superuser of this name, made or renewed; the password, a new one where none is given.

    Raises Unusable for a bad name or a weak password; nothing is changed then.
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
    """A new key under a new name. Raises Unusable."""
    row = ApiKey(name=name, can_steer=can_steer)
    key = row.renew()
    try:
        row.full_clean()
    except ValidationError as wrong:
        raise Unusable(" ".join(wrong.messages)) from None
    row.save()
    return key
