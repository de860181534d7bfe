"""Connections and locks for acts on the tables themselves, with the rights of their owner.

Owns how an act waits for a lock that everybody else then waits for: shortly, and again and again.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from seckill.errors import PostgresAway, Refused
from seckill.postgres.access import connect
from seckill.postgres.seasons import STORED_ONCE, TABLE, is_partitioned

# The advisory lock that allows one such act at a time: any number that nothing else uses.
ONE_AT_A_TIME = 7_351_015
# Seconds of one wait for a lock: nobody stores meanwhile. Seconds between two, how many there are.
LOCK_S, PAUSE_S, ATTEMPTS = 2.0, 3.0, 40
# Seconds without an acknowledgement after which the line is lost.
LINE_S = 60
IDENTITY = '(source, partition, "offset", item_id)'

Say = Callable[[str], None]


@contextmanager
def owners_connection(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode, without limits of time; nobody else has one now.

    Raises Refused if somebody has, or if this role does not own the table; psycopg.Error.
    """
    with connect(dsn, LINE_S, LINE_S) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        owner, mine = _one(
            connection,
            "SELECT pg_get_userbyid(relowner), pg_has_role(relowner, 'USAGE') FROM pg_class"
            f" WHERE oid = '{TABLE}'::regclass",
        )
        if not mine:
            raise Refused(
                f"this needs the rights of {owner}, who owns the tables: set SECKILL_PG_DSN to its "
                "address, as for manage.py migrate"
            )
        # What is made belongs to the owner too, whoever of its members makes it.
        run(connection, "SET ROLE {owner}", owner=sql.Identifier(str(owner)))
        (alone,) = _one(connection, f"SELECT pg_try_advisory_lock({ONE_AT_A_TIME})")
        if not alone:
            raise Refused("somebody else changes partitions now; try again when that has ended")
        yield connection


def refuse_unless_partitioned(connection: psycopg.Connection) -> None:
    """Raises Refused."""
    if not is_partitioned(connection.cursor()):
        raise Refused(f"{TABLE} is one table; manage.py seasons partition makes partitions of it")


def shortly(connection: psycopg.Connection, step: Callable[[], None], say: Say) -> float:
    """Do a step in one transaction as soon as its locks are free: at most LOCK_S of waiting at a
    time, so that those who wait behind it go on in between. Returns the seconds of the longest
    try: nobody waited longer.

    Raises PostgresAway if they are never free.
    """
    longest_s = 0.0
    for attempt in range(1, ATTEMPTS + 1):
        began = time.monotonic()
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{round(LOCK_S * 1000)}ms'")
                step()
            return max(longest_s, time.monotonic() - began)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            longest_s = max(longest_s, time.monotonic() - began)
            say(
                f"somebody reads or writes {TABLE} for long (an audit, an export): try {attempt} "
                f"of {ATTEMPTS}, the next one in {PAUSE_S:.0f} s"
            )
            time.sleep(PAUSE_S)
    raise PostgresAway(
        f"{TABLE} was never free for {LOCK_S:.0f} s: see pg_stat_activity for who holds it. "
        "Nothing was changed that stops a sale; run this again"
    )


def create_partition(connection: psycopg.Connection, name: str, sources: Iterable[str]) -> None:
    """An empty partition of these topics, with constraints named as the log worker expects.

    It is made beside the table and then attached, which stops nobody.
    """
    child, parent = sql.Identifier(name), sql.Identifier(TABLE)
    for statement in (
        "CREATE TABLE {child} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "ALTER TABLE {child} ADD CONSTRAINT {once} UNIQUE " + IDENTITY,
        "ALTER TABLE {child} ADD CONSTRAINT {key} PRIMARY KEY (id, source)",
        "ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES IN ({listed})",
    ):
        run(
            connection,
            statement,
            child=child,
            parent=parent,
            listed=listed(sources),
            once=sql.Identifier(name + STORED_ONCE),
            key=sql.Identifier(name + "_pkey"),
        )


def listed(sources: Iterable[str]) -> sql.Composed:
    """Topics, as SQL lists them."""
    return sql.SQL(", ").join(sql.SQL("{}::uuid").format(sql.Literal(s)) for s in sources)


def run(connection: psycopg.Connection, statement: str, **names: sql.Composable) -> None:
    """A statement with these names in it."""
    connection.execute(sql.SQL(statement).format(**names))


def _one(connection: psycopg.Connection, query: str) -> tuple[object, ...]:
    row = connection.execute(query).fetchone()
    return tuple(row or ())
