"""PostgreSQL for everything that runs without Django: connections, and what its errors mean.

Owns the ladder from an error of psycopg to one of our three kinds. A connection works behind
pgbouncer in transaction mode: nothing is prepared, nothing is set for longer than a transaction,
and no option travels with the start of a connection but those of the address itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from seckill.errors import PostgresAway, PostgresRefuses, TablesMissing

# What PostgreSQL says when it cannot do it now and may later. The rest is poison or a bug.
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
# transaction_timeout, since PostgreSQL 17; psycopg has no class for it in each version.
TRANSACTION_TIMEOUT = "25P04"
# What a person has to mend first, at the start of a connection, where the library knows only a
# text.
REFUSING_WORDS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "does not exist",
    "certificate verify failed",
)


def connect(dsn: str, connect_timeout_s: int, answer_limit_s: float) -> psycopg.Connection:
    """A connection that commits each statement unless it is in a transaction. Raises psycopg.Error.

    A line that has died without a word counts as lost after `answer_limit_s` without an
    acknowledgement.
    """
    return psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=connect_timeout_s,
        tcp_user_timeout=round(answer_limit_s * 1000),
        prepare_threshold=None,
    )


def limit(connection: psycopg.Connection, seconds: float) -> None:
    """Bound each statement and each wait for a lock in this transaction.

    A lock's wait ends first: so it is told apart from a PostgreSQL that does not answer.
    """
    connection.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
        (str(round(seconds * 1000)), str(round(seconds * 500))),
    )


def judged(error: BaseException) -> BaseException:
    """What an error of psycopg means: PostgresAway, PostgresRefuses, or itself: poison, or a
    bug.
    """
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
    """Errors of psycopg as what they mean. Raises PostgresAway, PostgresRefuses, or the error."""
    try:
        yield
    except psycopg.Error as error:
        meaning = judged(error)
        if meaning is error:
            raise
        raise meaning from None
