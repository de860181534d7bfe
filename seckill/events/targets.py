"""The shop's addresses that events are posted to, and the signature of what is posted.

Only addresses of the configuration are posted to. The signature is that of Standard Webhooks
(https://www.standardwebhooks.com), made by its library: HMAC-SHA256 over id, time and raw body.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from seckill.config.addresses import webhook_urls
from seckill.config.keyring import webhook_secrets
from seckill.config.layers import ConfigError
from seckill.config.sections import Webhooks
from seckill.events.cloud_event import CONTENT_TYPE


@dataclass(frozen=True)
class Target:
    """One address. While one secret replaces another, each signs."""

    name: str
    # Either may hold what only the shop knows.
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def headers(self, event_id: str, body: bytes) -> dict[str, str]:
        """The headers of one attempt, signed now."""
        now = datetime.now(UTC)
        signed = (Webhook(secret).sign(event_id, now, body.decode()) for secret in self.secrets)
        return {
            "content-type": CONTENT_TYPE,
            "user-agent": "seckill-webhooks",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signed),
        }


def targets_of(section: Webhooks) -> list[Target]:
    """All addresses of the section, each with its secrets. Raises ConfigError."""
    urls = webhook_urls(section.urls or "")
    secrets = webhook_secrets(section.secrets) if section.secrets else {}
    if not urls:
        raise ConfigError(
            "webhooks.urls: no address is named; write NAME=https://shop.example/hook"
        )
    for name in urls:
        if name not in secrets:
            raise ConfigError(
                f"webhooks.secrets: {name} has no secret; write {name}:whsec_ and base64 of 24 to "
                "64 random bytes"
            )
    return [Target(name, url, tuple(secrets[name])) for name, url in urls.items()]
