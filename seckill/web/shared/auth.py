"""Who may look and who may steer: API keys and staff sessions, for the control API.

Owns the check of a credential and the actor's name in the journal. Knows nothing of the acts.
A missing or wrong credential is 401; a valid one without the right is 403.

look   any key that is not revoked; staff with permission `seckill.view_item`
steer  a key that may steer; staff with the permission that every act needs
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja.errors import AuthenticationError, AuthorizationError
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer
from ninja.utils import check_csrf

from seckill.control.acts import STEER_PERMISSION
from seckill.models import ApiKey

LOOK_PERMISSION = "seckill.view_item"
# How old the stored time of a key's last use may be: one write per minute, not per request.
LAST_USED_EVERY = timedelta(minutes=1)


def may_look(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a person may see stock and statistics."""
    return bool(getattr(user, "is_staff", False)) and user.has_perm(LOOK_PERMISSION)  # type: ignore[union-attr]


def may_steer(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a person may change a sale."""
    return bool(getattr(user, "is_staff", False)) and user.has_perm(STEER_PERMISSION)  # type: ignore[union-attr]


def actor_of_key(key: ApiKey) -> str:
    """The name of a key in the journal. User names have no colon, so it cannot be a user's."""
    return f"key:{key.name}"


def actor_of_user(user: Any) -> str:
    """The name of a person in the journal."""
    return str(user.get_username())


def actor_by_key(text: str, *, steer: bool) -> str:
    """The actor of a key. Raises AuthenticationError or AuthorizationError.

    The key is looked up by its digest, so the time that takes reveals nothing about the key.
    """
    key = ApiKey.objects.filter(digest=ApiKey.hash(text), revoked_at__isnull=True).first()
    if key is None:
        raise AuthenticationError(message="the API key is unknown or revoked")
    if steer and not key.can_steer:
        raise AuthorizationError(message=f"API key {key.name!r} may look, but not steer")
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_EVERY)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    return actor_of_key(key)


class KeyInHeader(APIKeyHeader):
    """`X-API-Key: sk_...`"""

    param_name = "X-API-Key"

    def __init__(self, *, steer: bool) -> None:
        self.steer = steer
        super().__init__()

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        """The actor; None without the header."""
        return None if key is None else actor_by_key(key, steer=self.steer)


class KeyAsBearer(HttpBearer):
    """`Authorization: Bearer sk_...`"""

    def __init__(self, *, steer: bool) -> None:
        self.steer = steer
        super().__init__()

    def authenticate(self, request: HttpRequest, token: str) -> str:
        """The actor."""
        return actor_by_key(token, steer=self.steer)


class StaffSession(APIKeyCookie):
    """The session of a user of the admin; unsafe methods need the CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, *, steer: bool) -> None:
        self.steer = steer
        super().__init__(csrf=True)

    def __call__(self, request: HttpRequest) -> str | None:
        """The actor; None without a session."""
        if not request.user.is_authenticated:
            return None
        # The CSRF check may consume the body in search of a form field. Reading it first keeps it.
        _ = request.body
        if check_csrf(request):
            raise AuthorizationError(
                message="with a session this call needs the CSRF token in header X-CSRFToken, "
                "from this site"
            )
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> str:
        """The actor of a session that exists."""
        if not (may_steer if self.steer else may_look)(request.user):
            need = STEER_PERMISSION if self.steer else LOOK_PERMISSION
            raise AuthorizationError(message=f"this needs a staff user with permission {need}")
        return actor_of_user(request.user)


def credentials(*, steer: bool) -> list[Any]:
    """The credentials that an operation accepts. The first one that is present decides."""
    return [KeyInHeader(steer=steer), KeyAsBearer(steer=steer), StaffSession(steer=steer)]
