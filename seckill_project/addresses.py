"""Addresses of the services, checked: what the libraries can read, and no other way than we do.

A password with `#`, `/`, `?` or `@` in it as it is would be cut: the library takes a part of it for
a host, a port or a database, and names that in its errors. So such an address is refused here, and
no refusal repeats any part of what it refuses.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

# What a user or a password must not hold as it is, and what is written instead.
UNREADABLE = (
    "cannot be read; in user and password write %25 for %, %23 for #, %2F for /, %3A for :, "
    "%3F for ?, %40 for @"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> list[Network]:
    """Networks from a list with commas; ValueError names the one that is none."""
    return [ipaddress.ip_network(word.strip()) for word in text.split(",") if word.strip()]


def check_networks(text: str) -> str:
    """The list as it is; ValueError where a word of it is no network."""
    networks(text)
    return text


def without_addresses(text: str) -> str:
    """A text for people, in which each word that is an address is left out."""
    return re.sub(r"\S*(://|@)\S*", "(an address)", text)


def check_url(url: str) -> str:
    """The address as it is; ValueError where user and password do not end where they should."""
    parts = urlsplit(url)
    # The file of a socket may have any name, where no password stands before it.
    behind = "" if parts.scheme == "unix" and not parts.netloc else parts.path
    # The whole of it: the parts do not tell a `#` with nothing behind it.
    if "#" in url or "@" in behind + parts.query:
        raise ValueError(UNREADABLE)
    return url


def check_redis_url(url: str) -> str:
    """The address as it is; ValueError where redis-py cannot read it, or reads it otherwise."""
    try:
        parse_url(check_url(url))
    except ValueError:
        raise ValueError(UNREADABLE) from None
    return url


def check_dsn(dsn: str) -> str:
    """The address as it is; ValueError where libpq cannot read it, or reads it otherwise."""
    # libpq ends the password at the first `@`, and has none where a `/` comes before that.
    place, _, behind = dsn.partition("://")[2].partition("/")
    if place.count("@") > 1 or "@" in behind:
        raise ValueError(UNREADABLE)
    try:
        ports = conninfo_to_dict(dsn).get("port") or ""
    except psycopg.ProgrammingError:
        raise ValueError(UNREADABLE) from None
    if not re.fullmatch(r"[\d,]*", str(ports)):
        raise ValueError("its port is no number")
    return dsn


def check_brokers(value: str) -> str:
    """Kafka brokers as the libraries read them; else ValueError."""
    if "@" in value:
        raise ValueError(
            "is HOST:PORT with commas; user and password belong into sasl_username and "
            "sasl_password"
        )
    brokers = [broker.strip() for broker in value.split(",") if broker.strip()]
    for broker in brokers or [value]:
        found = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?", broker)
        if not found or not 1 <= int(found[1] or 9092) <= 65535:
            raise ValueError(f"{broker!r} is not HOST:PORT; write kafka1:9092,kafka2:9092")
    return ",".join(brokers)


def django_database(dsn: str) -> dict[str, Any]:
    """Django's form of a PostgreSQL address; what it has no word for goes to psycopg."""
    names = {
        "dbname": "NAME",
        "user": "USER",
        "password": "PASSWORD",
        "host": "HOST",
        "port": "PORT",
    }
    options: dict[str, Any] = {"connect_timeout": 5}
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
