"""PostgreSQL for code that runs without Django: connections, and what its errors mean.

Owns the mapping from psycopg's errors to our three kinds. A connection works behind pgbouncer in
transaction mode: it prepares nothing, sets nothing for longer than a transaction, and sends no
start-up options except those of the address itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from seckill.errors import PostgresAway, PostgresRefuses, TablesMissing

# Errors that mean "not now". All others are poison or a bug.
TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.InsufficientResources,
    psycopg.errors.OperatorIntervention,
    psycopg.errors.TransactionRollback,
    psycopg.errors.SystemError,
)
# In this transaction alone: what the settings of a role or database limit.
NO_LIMITS = """
SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN
    ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
# transaction_timeout, since PostgreSQL 17. Not every version of psycopg has a class for it.
TRANSACTION_TIMEOUT = "25P04"
# Connection errors that a person must fix first. The library has only a text for them.
REFUSING_WORDS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "does not exist",
    "certificate verify failed",
    # The server's certificate names another host; the server does no TLS; it wants ours.
    "does not match host name",
    "does not support SSL",
    "certificate required",
    # pgbouncer has no list of databases and users but its own.
    "no such database",
    "no such user",
)


def connect(dsn: str, connect_timeout_s: int, answer_limit_s: float) -> psycopg.Connection:
    """A connection in autocommit mode. Raises psycopg.Error.

    A dead line counts as lost after `answer_limit_s` without an acknowledgement.
    """
    return psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=connect_timeout_s,
        tcp_user_timeout=round(answer_limit_s * 1000),
        prepare_threshold=None,
    )


def limit(connection: psycopg.Connection, seconds: float) -> None:
    """Limit each statement and each wait for a lock in this transaction.

    The wait for a lock ends first, so it can be told from a PostgreSQL that does not answer.
    """
    connection.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
        (str(round(seconds * 1000)), str(round(seconds * 500))),
    )


def judged(error: BaseException) -> BaseException:
    """What an error of psycopg means: PostgresAway, PostgresRefuses, or itself: poison or a bug."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return TablesMissing()
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return PostgresRefuses(text)
    if isinstance(error, TRANSIENT) or getattr(error, "sqlstate", None) == TRANSACTION_TIMEOUT:
        refuses = getattr(error, "sqlstate", None) is None and any(
            word in text for word in REFUSING_WORDS
        )
        return PostgresRefuses(text) if refuses else PostgresAway(text)
    return error


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Translate psycopg's errors. Raises PostgresAway, PostgresRefuses, or the error itself."""
    try:
        yield
    except psycopg.Error as error:
        meaning = judged(error)
        if meaning is error:
            raise
        raise meaning from None
