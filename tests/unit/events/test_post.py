"""How long a webhook waits, and which addresses and secrets are taken."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from seckill.config.addresses import webhook_urls
from seckill.config.keyring import webhook_secrets
from seckill.config.layers import ConfigError, load
from seckill.config.sections import Webhooks
from seckill.events.post import LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S, pause_s, retry_after_s
from seckill.events.targets import targets_of

SECRET = "whsec_" + "A" * 32


def test_pauses_grow_and_are_spread() -> None:
    for attempts in range(1, 40):
        longest = min(2.0 ** (attempts - 1), LONGEST_PAUSE_S)
        found = [pause_s(attempts) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in found)
        assert len(set(found)) > 1


def test_retry_after() -> None:
    assert retry_after_s("120") == 120
    assert retry_after_s("999999") == LONGEST_RETRY_AFTER_S
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    assert 50 < retry_after_s(format_datetime(in_a_minute, usegmt=True)) <= 60
    assert retry_after_s(format_datetime(in_a_minute - timedelta(hours=1), usegmt=True)) == 0
    for nothing in ("", "soon", "-5", "1.5", "9" * 400, "Thu, 99 Foo 2026"):
        assert retry_after_s(nothing) == 0


@pytest.mark.parametrize(
    "text",
    ["shop", "shop=", "shop=ftp://x/", "Shop=https://x/", "a=https://u:p@x/", "a=https://x/#b",
     "a=https://x/,a=https://y/", "=https://x/"],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"address 1|address 2") as wrong:
        webhook_urls(text)
    assert "u:p" not in str(wrong.value)


@pytest.mark.parametrize(
    "text", ["shop", "shop:abc", "shop:whsec_", "shop:whsec_AAAA", "S:" + SECRET, "a:whsec_ä"]
)
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        webhook_secrets(text)


def test_each_address_needs_a_secret() -> None:
    def section(**flags: str) -> Webhooks:
        return load(Webhooks, flags, {"SECKILL_CONFIG": "/dev/null"})

    with pytest.raises(ConfigError, match="no address is named"):
        targets_of(section())
    with pytest.raises(ConfigError, match="other has no secret"):
        targets_of(section(urls="a=http://x/,other=http://y/", secrets=f"a:{SECRET}"))
    (target,) = targets_of(section(urls="a=http://x/", secrets=f"a:{SECRET},a:{SECRET}"))
    assert target.secrets == (SECRET, SECRET)
    assert len(target.headers("id", b"{}")["webhook-signature"].split(" ")) == 2
