"""Keys of programs that use the control API."""

import hashlib
import secrets
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class ApiKey(models.Model):
    """A credential for programs. Only its hash is kept: the key, 256 random bits, is shown once."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    can_steer = models.BooleanField(
        _("may steer"), default=True, help_text=_("Without it the key may only look.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def hash(key: str) -> str:
        """The stored form of a key. A fast hash is enough: the key cannot be guessed."""
        return hashlib.sha256(key.encode()).hexdigest()

    def renew(self) -> str:
        """Set a new key on this row and return it: the only chance to read it. Does not save."""
        key = "sk_" + secrets.token_urlsafe(32)
        self.prefix, self.digest = key[:9], self.hash(key)
        return key
