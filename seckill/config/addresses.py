"""Checks the addresses of services, so that the libraries read them in the same way as we do.

An unescaped `#`, `/`, `?` or `@` in a password cuts it: the library takes a part of the password as
host, port or database and names that part in its errors. So such an address is refused here, and
the refusal repeats no part of the address.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from seckill.config.keyring import WEBHOOK_NAME
from seckill.formats.redis_address import BadAddress, several

# The reason of a refusal: which characters of a user or password must be escaped, and how.
UNREADABLE = (
    "cannot be read; in user and password write %25 for %, %23 for #, %2F for /, %3A for :, "
    "%3F for ?, %40 for @"
)

# A machine of PostgreSQL that is gone without a word is noticed within 10 s. One that is busy still
# acknowledges.
GONE = {"tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2}
# What libpq calls the servers that take writes.
PRIMARY = ("read-write", "primary")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> list[Network]:
    """Networks from a comma-separated list. ValueError names the word that is not a network."""
    return [ipaddress.ip_network(word.strip()) for word in text.split(",") if word.strip()]


def check_networks(text: str) -> str:
    """The list unchanged. ValueError if one of its words is not a network."""
    networks(text)
    return text


def origins(text: str) -> frozenset[str]:
    """Origins of browsers from a comma-separated list. ValueError if one is not an origin."""
    found = frozenset(word.strip() for word in text.split(",") if word.strip())
    for origin in found:
        if not re.fullmatch(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", origin):
            raise ValueError(
                "must be origins as browsers send them, lower case and without a path; write "
                "https://shop.example.com,https://www.example.com"
            )
    return found


def check_origins(text: str) -> str:
    """The list unchanged. ValueError if one of its words is not an origin."""
    origins(text)
    return text


def check_shop_address(address: str) -> str:
    """The address of a page unchanged. ValueError unless it is a browser's, or a path."""
    if not re.fullmatch(
        r"(?:https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?(?=/|$)|(?=/))(?:/(?!/)[!-~]*)?",
        address,
    ):
        raise ValueError(
            "must be a page's address without user and password, or a path; write "
            "https://shop.example.com/session or /session"
        )
    return address


def check_url(url: str) -> str:
    """The address unchanged. ValueError if user and password do not end where they should."""
    parts = urlsplit(url)
    # A Unix socket's file may have any name, unless a password stands before it.
    behind = "" if parts.scheme == "unix" and not parts.netloc else parts.path
    # Searched in the whole URL: the parts do not show a `#` at the very end.
    if "#" in url or "@" in behind + parts.query:
        raise ValueError(UNREADABLE)
    return url


def check_pay_url(url: str) -> str:
    """The address unchanged, or ValueError. The place of the ticket is `{ticket}`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be an http or https address without a user")
    if url.count("{ticket}") != 1 or "{ticket}" in parts.netloc:
        raise ValueError("must have {ticket} once, after the host")
    return url


def webhook_urls(text: str) -> dict[str, str]:
    """{name: address}: `NAME=URL,...`. Raises ValueError, which repeats no address."""
    urls: dict[str, str] = {}
    for n, word in enumerate((w.strip() for w in text.split(",") if w.strip()), 1):
        name, _, url = word.partition("=")
        parts = urlsplit(url)
        if not re.fullmatch(WEBHOOK_NAME, name, re.ASCII):
            raise ValueError(f"the name of address {n} is not 1 to 32 of a-z 0-9 -")
        if name in urls:
            raise ValueError(f"the name of address {n} stands before another one too")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in url or "#" in url:
            raise ValueError(f"address {n} is not an http or https address without a user and #")
        urls[name] = url
    return urls


def check_webhook_urls(text: str) -> str:
    """The text unchanged, or ValueError."""
    webhook_urls(text)
    return text


def check_redis_url(url: str) -> str:
    """The address unchanged. ValueError if redis-py cannot read it, or reads it differently."""
    try:
        if several(check_url(url)) is None:
            parse_url(url)
    except BadAddress:
        raise
    except ValueError:
        raise ValueError(UNREADABLE) from None
    return url


def check_dsn(dsn: str) -> str:
    """The address unchanged. ValueError if libpq cannot read it, or reads it differently."""
    # libpq ends the password at the first `@`, and finds none if a `/` comes before that.
    place, _, behind = dsn.partition("://")[2].partition("/")
    if place.count("@") > 1 or "@" in behind:
        raise ValueError(UNREADABLE)
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ValueError(UNREADABLE) from None
    if not re.fullmatch(r"[\d,]*", str(parts.get("port") or "")):
        raise ValueError("its port is not a number")
    _check_writes(parts)
    return dsn


def _check_writes(parts: dict[str, Any]) -> None:
    """Of several servers only the one that takes writes may be asked: a standby is older."""
    several_hosts = any("," in str(parts.get(key) or "") for key in ("host", "hostaddr"))
    wanted = parts.get("target_session_attrs")
    if several_hosts and wanted is None:
        raise ValueError(
            "names several hosts: write ?target_session_attrs=read-write behind the database, so "
            "that a standby is never taken for the primary"
        )
    if wanted not in (None, *PRIMARY) and (several_hosts or wanted != "any"):
        raise ValueError("its target_session_attrs must be read-write: a standby takes no orders")


def check_brokers(value: str) -> str:
    """Kafka brokers, separated by commas as the libraries expect them, or ValueError."""
    if "@" in value:
        raise ValueError(
            "must be HOST:PORT with commas; user and password belong in sasl_username and "
            "sasl_password"
        )
    brokers = [broker.strip() for broker in value.split(",") if broker.strip()]
    for broker in brokers or [value]:
        found = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?", broker)
        if not found or not 1 <= int(found[1] or 9092) <= 65535:
            raise ValueError(f"{broker!r} is not HOST:PORT; write kafka1:9092,kafka2:9092")
    return ",".join(brokers)


def on_this_machine(brokers: str) -> bool:
    """Whether it is one broker on loopback: somebody tries something out."""
    return re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", brokers) is not None


def django_database(dsn: str) -> dict[str, Any]:
    """A PostgreSQL address in Django's form. Keys that Django does not know go to psycopg."""
    names = {
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
        "host": "HOST",
        "port": "PORT",
    }
    options: dict[str, Any] = {"connect_timeout": 5, **GONE}
    database: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
    for key, value in conninfo_to_dict(check_dsn(dsn)).items():
        if key in names:
            database[names[key]] = str(value)
        else:
            options[key] = value
    return database


def with_password(url: str, password: str) -> str:
    """The address of Redis or PostgreSQL with this password, unless it has one."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    if ":" in user:
        return url
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()


def is_address(text: str) -> bool:
    """Whether a value may be an address in the wrong place, possibly with a password."""
    return "@" in text or "://" in text
