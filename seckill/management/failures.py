"""What a failure means to somebody at a shell: one line, and an exit code.

Owns the meaning of every error that a person can mend. All others are bugs and keep their
traceback.
"""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import redis
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from seckill.config.layers import ConfigError
from seckill.config.sections import ENV_PREFIX
from seckill.errors import (
    BrokerRefuses,
    DoneInPart,
    PostgresRefuses,
    RedisRefuses,
    ServiceAway,
    TablesMissing,
)
from seckill.lane.client import judged as judged_redis
from seckill.monitoring.fitness import Unfit
from seckill.postgres.access import judged as judged_postgres
from seckill.process import exit_codes
from seckill.web.sockets import PortTaken

NO_TABLES = "PostgreSQL has no tables of this project, or older ones: run manage.py migrate"
# The parameter with the address of each service.
ADDRESSES = {"Kafka": "BROKERS", "Redis": "REDIS_URL", "PostgreSQL": "PG_DSN"}
# Errors of files and of the machine, in plainer words than the system's.
MENDABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EROFS: "it can only be read",
    errno.EACCES: "this user may not",
    errno.EPERM: "this user may not",
    errno.EMFILE: "too many files are open (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "the memory is used up",
}


@contextmanager
def readable_errors() -> Iterator[None]:
    """An error that a person can mend becomes CommandError: one line and an exit code."""
    # Its own lines about each attempt would bury ours.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("called off", returncode=exit_codes.SECOND_SIGNAL) from None
    except Exception as error:
        told = told_as(error)
        if told is None:
            raise
        raise told from None


def told_as(error: Exception) -> CommandError | None:
    """What to tell about an error; None if it is a bug, or is told already."""
    if isinstance(error, PortTaken):
        text = f"{error}. Stop what listens there, or choose another --port."
        return CommandError(text, returncode=exit_codes.USAGE)
    if isinstance(error, ConfigError | Unfit):
        return CommandError(str(error), returncode=exit_codes.USAGE)
    if isinstance(error, DatabaseError | InterfaceError | psycopg.Error):
        cause = error.__cause__
        meaning = judged_postgres(cause if isinstance(cause, Exception) else error)
    elif isinstance(error, redis.RedisError):
        meaning = judged_redis(error)
    else:
        meaning = error
    if isinstance(meaning, TablesMissing):
        return CommandError(NO_TABLES, returncode=exit_codes.USAGE)
    if isinstance(meaning, DoneInPart):
        return CommandError(str(meaning), returncode=exit_codes.UNREACHABLE)
    if isinstance(meaning, ServiceAway):
        return CommandError(
            f"{str(meaning).rstrip('.')}. {_to_do(meaning)}", returncode=exit_codes.UNREACHABLE
        )
    if isinstance(error, OSError) and (error.filename or error.errno in MENDABLE):
        place = f"{error.filename}: " if error.filename else ""
        why = MENDABLE.get(error.errno or 0, error.strerror)
        return CommandError(
            f"{place}{why} ({errno.errorcode.get(error.errno or 0)}). Mend it, then run this again",
            returncode=exit_codes.FAILED,
        )
    return None


def _to_do(away: ServiceAway) -> str:
    address = f"{ENV_PREFIX}{ADDRESSES[away.service]}"
    if isinstance(away, BrokerRefuses):
        return (
            "Correct the user, the password, the CA file or the right: "
            f"{ENV_PREFIX}SASL_USERNAME, {ENV_PREFIX}SASL_PASSWORD, {ENV_PREFIX}SSL_CAFILE, or "
            "Kafka's own access list (docs/security.md)"
        )
    if isinstance(away, RedisRefuses | PostgresRefuses):
        return (
            f"Correct the user, the password or the certificate in {address}, or give the right "
            "that it names (docs/security.md)"
        )
    return (
        f"Bring it back, or correct its address ({address}; manage.py devstack status shows the "
        "embedded services)"
    )
