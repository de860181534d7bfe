"""What became of holds, into PostgreSQL: settlements, and payments that came too late.

Owns their SQL. Called inside the transaction of a batch, after the batch's records: the list keeps
the order, so the record of a hold is stored before its settlement, or with it. A settlement whose
record is no row is refused, as is one that differs from what is stored. Each is stored once, by
the identity of the record that it settles; a late payment by that of its settle message.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from seckill.formats.record import CANCELLED, EXPIRED, TOO_LATE, WireRecord
from seckill.log_worker.ids import is_behind, skip_ids

# The entries of one batch, each with its index there.
Entries = Sequence[tuple[int, WireRecord]]
Refused = list[tuple[int, str]]

COLUMNS = {
    "source": "uuid",
    "partition": "int4",
    "offset": "int8",
    "item_id": "int8",
    "user_id": "int8",
    "activity_id": "int8",
    "quantity": "int8",
    "kind": "text",
    "ts": "timestamptz",
    "settle_source": "uuid",
    "settle_partition": "int4",
    "settle_offset": "int8",
    "reference": "text",
    "forgiven": "bool",
}
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
NOT_OF_LATE = ("item_id", "quantity", "kind", "forgiven")
_LATE_NAMES = ", ".join(f'"{n}"' for n in COLUMNS if n not in NOT_OF_LATE)
GIVEN = "unnest({}) WITH ORDINALITY AS g({}, place)".format(
    ", ".join(f"%s::{kind}[]" for kind in COLUMNS.values()), _NAMES
)
# One descent of the identity's index for each settlement, however big the table is.
RECORD = """LATERAL (SELECT true AS there FROM seckill_record AS r
    WHERE r.source = g.source AND r.partition = g.partition AND r."offset" = g."offset"
    AND r.item_id = g.item_id AND r.user_id = g.user_id AND r.activity_id = g.activity_id
    AND r.quantity = g.quantity LIMIT 1) AS record"""
STORE = f"""
WITH stored AS (
    INSERT INTO seckill_settlement ({_NAMES})
    SELECT {", ".join(f'g."{name}"' for name in COLUMNS)} FROM {GIVEN} CROSS JOIN {RECORD}
    ORDER BY place ON CONFLICT (source, partition, "offset", item_id) DO NOTHING
    RETURNING activity_id, item_id, quantity, kind
)
SELECT activity_id, item_id,
    coalesce(sum(quantity) FILTER (WHERE kind IN ('{EXPIRED}', '{CANCELLED}')), 0)::bigint, count(*)
FROM stored GROUP BY 1, 2 ORDER BY 1, 2
"""
NOT_STORED = f"""
SELECT place, record.there IS NULL, s.kind, s.user_id, s.activity_id, s.quantity,
    s.settle_source::text, s.settle_partition, s.settle_offset
FROM {GIVEN} LEFT JOIN {RECORD} ON true LEFT JOIN LATERAL (
    SELECT * FROM seckill_settlement AS s WHERE s.source = g.source AND s.partition = g.partition
    AND s."offset" = g."offset" AND s.item_id = g.item_id LIMIT 1) AS s ON true
WHERE s.id IS NULL OR (s.user_id, s.activity_id, s.quantity, s.kind, s.settle_source,
        s.settle_partition, s.settle_offset, s.reference)
    IS DISTINCT FROM (g.user_id, g.activity_id, g.quantity, g.kind, g.settle_source,
        g.settle_partition, g.settle_offset, g.reference)
    OR s.forgiven <> g.forgiven
ORDER BY place
"""
STORE_LATE = f"""
INSERT INTO seckill_latepayment ({_LATE_NAMES}) SELECT {_LATE_NAMES} FROM {GIVEN} ORDER BY place
ON CONFLICT (settle_source, settle_partition, settle_offset) DO NOTHING
"""
LATE_NOT_STORED = f"""
SELECT place, l.source::text, l.partition, l."offset", l.user_id
FROM {GIVEN} LEFT JOIN seckill_latepayment AS l ON l.settle_source = g.settle_source
    AND l.settle_partition = g.settle_partition AND l.settle_offset = g.settle_offset
WHERE l.id IS NULL OR (l.source, l.partition, l."offset", l.user_id, l.activity_id, l.reference)
    IS DISTINCT FROM (g.source, g.partition, g."offset", g.user_id, g.activity_id, g.reference)
ORDER BY place
"""
COUNT_RETURNED = """
UPDATE seckill_item SET sold = sold - %s, returned = returned + %s
WHERE activity_id = %s AND item_id = %s
"""
# Two workers must not wait for each other: whoever counts records and returns locks all items
# first, in the order in which records are counted.
LOCK_ITEMS = """
SELECT 1 FROM seckill_item WHERE (activity_id, item_id) IN (
    SELECT * FROM unnest(%s::int8[], %s::int8[]))
ORDER BY activity_id, item_id FOR NO KEY UPDATE
"""
NO_ROW = "PostgreSQL stored no row and reported no error: a trigger or a rule skips it"
NO_ORDER = "the order that it settles is not stored, or is another one"
# Errors of a row that PostgreSQL will never accept: a value, a constraint, a trigger's refusal.
REFUSED_ROWS = (
    psycopg.errors.DataError,
    psycopg.errors.IntegrityError,
    psycopg.errors.RaiseException,
)


def lock_items(cursor: psycopg.Cursor, records: Sequence[WireRecord]) -> None:
    """Before a batch with settlements is counted: lock the items that it counts."""
    items = sorted({(record.activity_id, record.item_id) for record in records})
    cursor.execute(LOCK_ITEMS, [[a for a, _ in items], [item for _, item in items]])


def store(cursor: psycopg.Cursor, entries: Entries, refused: Refused) -> int:
    """Store settlements and late payments, after the batch's records. Returns how many are new.

    What PostgreSQL refuses is added to `refused`, as (index, reason).
    """
    late = [entry for entry in entries if entry[1].kind == TOO_LATE]
    settled = [entry for entry in entries if entry[1].kind != TOO_LATE]
    new = 0
    if settled:
        new += _store_part(cursor, settled, refused, _settlements)
    if late:
        new += _store_part(cursor, late, refused, _late_payments)
    return new


Store = Callable[[psycopg.Cursor, Entries, Refused], int]


def _store_part(cursor: psycopg.Cursor, entries: Entries, refused: Refused, way: Store) -> int:
    """Store a part of a batch. If PostgreSQL refuses a row, halve until that row is alone."""
    found: Refused = []
    try:
        with cursor.connection.transaction():
            new = way(cursor, entries, found)
    except REFUSED_ROWS as wrong:
        if isinstance(wrong, psycopg.errors.UniqueViolation) and is_behind(wrong):
            skip_ids(cursor, wrong.diag.table_name or "")
            return _store_part(cursor, entries, refused, way)
        if len(entries) == 1:
            refused.append((entries[0][0], str(wrong).strip().splitlines()[0]))
            return 0
        middle = len(entries) // 2
        return _store_part(cursor, entries[:middle], refused, way) + _store_part(
            cursor, entries[middle:], refused, way
        )
    refused += found
    return new


def _settlements(cursor: psycopg.Cursor, entries: Entries, refused: Refused) -> int:
    columns = _columns(entries)
    stored = cursor.execute(STORE, columns).fetchall()
    counted = [(n, n, activity, item) for activity, item, n, _ in stored if n]
    if counted:
        cursor.executemany(COUNT_RETURNED, counted)
    new = sum(count for *_, count in stored)
    if new < len(entries):
        for place, no_order, kind, *content in cursor.execute(NOT_STORED, columns).fetchall():
            reason = NO_ORDER if no_order else NO_ROW
            if kind is not None:
                reason = (
                    "its hold is settled otherwise: {}, user {}, activity {}, quantity {}, "
                    "by {}:{}:{}".format(kind, *content)
                )
            refused.append((entries[place - 1][0], reason))
    return int(new)


def _late_payments(cursor: psycopg.Cursor, entries: Entries, refused: Refused) -> int:
    columns = _columns(entries)
    new = cursor.execute(STORE_LATE, columns).rowcount
    if new < len(entries):
        for place, source, *rest in cursor.execute(LATE_NOT_STORED, columns).fetchall():
            reason = NO_ROW
            if source is not None:
                reason = "its settle message is stored with another hold: {}:{}:{}, user {}".format(
                    source, *rest
                )
            refused.append((entries[place - 1][0], reason))
    return new


def _columns(entries: Entries) -> list[list[Any]]:
    rows = [
        (
            *(UUID(r.source), r.partition, r.offset, r.item_id, r.user_id, r.activity_id),
            *(r.quantity, r.status, datetime.fromtimestamp(r.timestamp, UTC)),
            *((UUID(r.settled_by[0]), *r.settled_by[1:]) if r.settled_by else (None,) * 3),
            r.reference,
            r.forgiven,
        )
        for _, r in entries
    ]
    return [list(column) for column in zip(*rows, strict=True)]
