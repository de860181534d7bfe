"""Makes today's `seckill_record` the first partition of a partitioned table, beside a sale.

Nothing is copied. What takes long, an index and a CHECK, is made while orders are stored. Then one
short transaction renames the table, makes the partitioned one, and attaches. Whatever ends before
that transaction leaves a table that works as before, and the act can be done again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from seckill.errors import Refused
from seckill.postgres.distinct import distinct_sql
from seckill.postgres.seasons import (
    FIRST,
    SOURCES_CHECK,
    STORED_ONCE,
    TABLE,
    is_partitioned,
)
from seckill.seasons.tables import Say, listed, run, shortly

KEY = f"{FIRST}_pkey"
NEW_KEY = f"{FIRST}_id_source"
SEQUENCE = f"{TABLE}_id_seq"
# The topics of all rows, and of dead records.
SOURCES = f"""
SELECT value::text FROM ({distinct_sql(TABLE, "source")}) AS s
UNION SELECT source::text FROM seckill_deadrecord WHERE source IS NOT NULL
"""
# What would stay with the first partition, or go on looking at it alone.
STRANGERS = f"""
SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = '{TABLE}'::regclass AND NOT tgisinternal
UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = '{TABLE}'::regclass
UNION ALL SELECT 'publication ' || pubname FROM pg_publication_rel AS r
    JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = '{TABLE}'::regclass
UNION ALL SELECT DISTINCT 'view ' || w.ev_class::regclass FROM pg_depend AS d
    JOIN pg_rewrite AS w ON w.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = '{TABLE}'::regclass
    AND w.ev_class <> d.refobjid
UNION ALL SELECT 'foreign key ' || conname FROM pg_constraint
    WHERE contype = 'f' AND '{TABLE}'::regclass IN (conrelid, confrelid)
"""
INDEXES = f"""
SELECT c.relname, pg_get_indexdef(c.oid)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = '{TABLE}'::regclass AND i.indisvalid AND c.relname <> '{NEW_KEY}'
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid)
"""
UNIQUES = f"""
SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = '{TABLE}'::regclass AND contype IN ('u', 'p')
"""
RIGHTS = """
SELECT a.grantee::regrole::text, a.privilege_type, a.is_grantable, a.grantee = 0
FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""
# How often the topics are looked up again because an order of a new one came meanwhile.
LOOKS = 5


@dataclass(frozen=True)
class Partitioned:
    """What was done. `stopped_s`: how long others waited at the most."""

    sources: tuple[str, ...]
    stopped_s: float


def partition(
    connection: psycopg.Connection, more_sources: Callable[[], Iterable[str]], say: Say
) -> Partitioned:
    """Do it. `more_sources` are topics whose orders may come: those of now, and those in Redis.

    The connection is `owners_connection`'s. Raises Refused, PostgresAway, psycopg.Error.
    """
    if is_partitioned(connection.cursor()):
        raise Refused(f"{TABLE} is partitioned already; manage.py seasons list shows it")
    strangers = [name for (name,) in connection.execute(STRANGERS).fetchall()]
    if strangers:
        raise Refused(
            f"{TABLE} has what this project did not make, and what would not be the whole table's "
            f"any more: {', '.join(strangers)}. Drop it, and make it again afterwards"
        )
    say("1 of 3: a unique index on (id, source), while orders are stored")
    run(connection, "DROP INDEX IF EXISTS {index}", index=sql.Identifier(NEW_KEY))
    run(
        connection,
        "CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} (id, source)",
        index=sql.Identifier(NEW_KEY),
        table=sql.Identifier(TABLE),
    )
    try:
        sources = _check_sources(connection, more_sources, say)
        say("3 of 3: the table becomes the first partition")
        stopped_s = shortly(connection, partial(_swap, connection, sources), say)
    except BaseException:
        # Without it an order of a new topic is stored as ever.
        _drop_check(connection, say)
        raise
    connection.execute(f"ANALYZE {TABLE}")
    return Partitioned(sources, stopped_s)


def _check_sources(
    connection: psycopg.Connection, more_sources: Callable[[], Iterable[str]], say: Say
) -> tuple[str, ...]:
    """A CHECK that only these topics' orders are in the table, so that attaching reads no row."""
    for _ in range(LOOKS):
        found = {source for (source,) in connection.execute(SOURCES).fetchall()}
        sources = tuple(sorted(found | set(more_sources())))
        if not sources:
            raise Refused("there is no topic and no order yet: make the topic first")
        say(f"2 of 3: a check of its topics, {len(sources)}, while orders are stored")
        _drop_check(connection, say)
        shortly(connection, partial(_add_check, connection, sources), say)
        try:
            _alter(connection, TABLE, "VALIDATE CONSTRAINT {check}")
            return sources
        except psycopg.errors.CheckViolation:
            # An order of a topic that nobody knew came before the CHECK.
            continue
    raise Refused("orders of new topics keep coming; try again when one topic is in use")


def _add_check(connection: psycopg.Connection, sources: tuple[str, ...]) -> None:
    _alter(
        connection,
        TABLE,
        "ADD CONSTRAINT {check} CHECK (source IS NOT NULL AND source IN ({listed})) NOT VALID",
        listed=listed(sources),
    )


def _drop_check(connection: psycopg.Connection, say: Say) -> None:
    there = connection.execute(
        f"SELECT FROM pg_constraint WHERE conrelid = '{TABLE}'::regclass AND conname = %s",
        (SOURCES_CHECK,),
    ).fetchone()
    if there is not None:
        shortly(connection, lambda: _alter(connection, TABLE, "DROP CONSTRAINT {check}"), say)


def _swap(connection: psycopg.Connection, sources: tuple[str, ...]) -> None:
    """The short transaction. Everybody who stores or reads orders waits for its end."""
    run(connection, "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=sql.Identifier(TABLE))
    indexes = connection.execute(INDEXES).fetchall()
    uniques = connection.execute(UNIQUES).fetchall()
    rights = connection.execute(RIGHTS, (TABLE,)).fetchall()
    rights_of_ids = connection.execute(RIGHTS, (SEQUENCE,)).fetchall()
    ids = connection.execute(f"SELECT last_value, is_called FROM {SEQUENCE}").fetchone()
    _alter(connection, TABLE, "ALTER id DROP IDENTITY")
    _alter(connection, TABLE, "RENAME TO {first}")
    for name, _definition in indexes:
        new = FIRST + "_" + name.removeprefix("record_")
        run(
            connection,
            "ALTER INDEX {old} RENAME TO {new}",
            old=sql.Identifier(name),
            new=sql.Identifier(new),
        )
    for name, kind, _definition in uniques:
        if kind == "p":
            _alter(connection, FIRST, "DROP CONSTRAINT {old}", old=sql.Identifier(name))
        else:
            new = FIRST + STORED_ONCE if name.endswith(STORED_ONCE) else f"{FIRST}_{name}"
            names = {"old": sql.Identifier(name), "new": sql.Identifier(new)}
            _alter(connection, FIRST, "RENAME CONSTRAINT {old} TO {new}", **names)
    _alter(connection, FIRST, "ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {new}")
    run(
        connection,
        "CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
        " INCLUDING COMMENTS) PARTITION BY LIST (source)",
        table=sql.Identifier(TABLE),
        first=sql.Identifier(FIRST),
    )
    _alter(connection, TABLE, "DROP CONSTRAINT {check}")
    for name, kind, definition in uniques:
        what = "PRIMARY KEY (id, source)" if kind == "p" else definition
        _alter(
            connection,
            TABLE,
            "ADD CONSTRAINT {old} {as_before}",
            old=sql.Identifier(name),
            as_before=sql.SQL(what),
        )
    for _name, definition in indexes:
        connection.execute(definition)
    _alter(connection, TABLE, "ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME {ids})")
    connection.execute("SELECT setval(%s::regclass, %s, %s)", (SEQUENCE, *(ids or (1, False))))
    _grant(connection, "TABLE", TABLE, rights)
    _grant(connection, "SEQUENCE", SEQUENCE, rights_of_ids)
    run(
        connection,
        "ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES IN ({listed})",
        table=sql.Identifier(TABLE),
        first=sql.Identifier(FIRST),
        listed=listed(sources),
    )
    _alter(connection, FIRST, "DROP CONSTRAINT {check}")


def _grant(connection: psycopg.Connection, kind: str, name: str, rights: list[Any]) -> None:
    for role, verb, grantable, everybody in rights:
        run(
            connection,
            f"GRANT {verb} ON {kind} {{name}} TO {'PUBLIC' if everybody else role}"
            + (" WITH GRANT OPTION" if grantable else ""),
            name=sql.Identifier(name),
        )


def _alter(connection: psycopg.Connection, table: str, what: str, **names: sql.Composable) -> None:
    run(
        connection,
        "ALTER TABLE {altered} " + what,
        **{
            "altered": sql.Identifier(table),
            "check": sql.Identifier(SOURCES_CHECK),
            "first": sql.Identifier(FIRST),
            "key": sql.Identifier(KEY),
            "new": sql.Identifier(NEW_KEY),
            "ids": sql.Identifier(SEQUENCE),
            **names,
        },
    )
