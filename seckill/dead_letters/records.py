"""Entries of the list that could not become rows: kept in PostgreSQL with their reason.

Owns the table seckill_deadrecord. A dead record is an accepted order: it outlives Redis, its units
are never given back, and nothing removes it. A dead settlement of a hold counts as well: its units
were given back. After a successful replay its row settles it.
No Django: the log worker writes here in the transaction that stores the rest of its batch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from seckill.errors import Poison
from seckill.formats.lanes import MAIN
from seckill.formats.record import (
    ACCEPTED,
    SAME_ORDER,
    TOO_LATE,
    WireRecord,
    parse,
    same_content,
    same_identity,
)
from seckill.lane.keys import Lane
from seckill.postgres.lanes import Cursor
from seckill.postgres.lanes import of_lane as of_activity
from seckill.postgres.lease import Claim

INSERT = """
INSERT INTO seckill_deadrecord (place, kind, reason, raw, source, partition, "offset", item_id,
    activity_id, user_id, quantity, request_id, entry, at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::uuid[], %s::int[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[],
    %s::text[]) AS dead,
    clock_timestamp()
ON CONFLICT (place) DO NOTHING
"""
# A row with the same identity and content settles a dead record. In Django: `DeadRecord.settled`.
_SAME = " AND ".join(f'r."{name}" = d."{name}"' for name in SAME_ORDER)
SETTLED = f"""(CASE d.entry
WHEN '{ACCEPTED}' THEN EXISTS (SELECT 1 FROM seckill_record AS r
    WHERE {same_identity("r", "d")} AND {same_content("r", "d")})
WHEN '{TOO_LATE}' THEN EXISTS (SELECT 1 FROM seckill_latepayment AS r WHERE r.source = d.source
    AND r.partition = d.partition AND r."offset" = d."offset" AND r.user_id = d.user_id)
ELSE EXISTS (SELECT 1 FROM seckill_settlement AS r WHERE {_SAME} AND r.kind = d.entry) END)"""
OPEN = f"d.dismissed_at IS NULL AND NOT {SETTLED}"
COUNT = f"""SELECT d.kind, count(*) FROM seckill_deadrecord AS d
WHERE {{mine}} AND {OPEN} GROUP BY d.kind"""
COLUMNS = (
    'd.id, d.kind, d.reason, d.raw, d.source::text, d.partition, d."offset", d.item_id, d.at,'
    f" {SETTLED}, d.dismissed_at IS NOT NULL"
)
LONGEST_REASON = 500


class Kind(StrEnum):
    """Why it did not become a row."""

    # PostgreSQL refuses its values, or has another order with its identity. An accepted order.
    REFUSED = "refused"
    # An entry of the list that is not a record: another program writes there.
    UNREADABLE = "unreadable"
    # Decided on a Redis that did not lead the lane. Its buyer may have got a yes.
    OVERLAP = "overlap"


@dataclass(frozen=True)
class Dead:
    """An unchanged entry of the list, and why it is dead. `place` identifies its place in the list,
    so that the same entry is recognised when it is read again: see `place_in_list`.
    """

    kind: Kind
    raw: bytes
    reason: str
    place: str


@dataclass(frozen=True)
class DeadRecord:
    """A dead record in the table. It has no identity if it is not a record at all."""

    id: int
    kind: Kind
    reason: str
    raw: bytes
    source: str | None
    partition: int | None
    offset: int | None
    item_id: int | None
    at: Any
    settled: bool
    dismissed: bool

    @property
    def origin(self) -> str:
        """source:partition:offset of its message, or "" if unknown."""
        return f"{self.source}:{self.partition}:{self.offset}" if self.source else ""


def place_in_list(claim: Claim, trims: int, index: int) -> str:
    """The place of an entry: its index from the tail, and how often this list was trimmed."""
    return f"{claim.identity}:{claim.generation}:{claim.term}:{trims}:{index}"


def keep(cursor: Cursor, dead: Sequence[Dead]) -> None:
    """Write them, each once."""
    if not dead:
        return
    rows: list[tuple[Any, ...]] = []
    for entry in dead:
        digest = hashlib.blake2b(entry.raw, digest_size=8).hexdigest()
        try:
            record: WireRecord | None = parse(entry.raw)
        except Poison:
            record = None
        reason = entry.reason.replace("\0", "")[:LONGEST_REASON]
        if record is None:
            rows.append(
                (
                    f"{entry.place}:{digest}",
                    str(entry.kind),
                    reason,
                    entry.raw,
                    *[None] * 8,
                    ACCEPTED,
                )
            )
            continue
        name = f"{record.source}:{record.partition}:{record.offset}:{record.item_id}"
        rows.append(
            (
                *(f"{name}:{digest}", str(entry.kind), reason, entry.raw),
                *(record.source, record.partition, record.offset, record.item_id),
                *(
                    record.activity_id,
                    record.user_id,
                    record.quantity,
                    _storable(record.request_id),
                    record.kind,
                ),
            )
        )
    cursor.execute(INSERT, [list(column) for column in zip(*rows, strict=True)])


def _storable(request_id: str | None) -> str | None:
    return None if request_id is None else request_id.replace("\0", "")


def of_lane(lane: Lane) -> str:
    """SQL: whether dead record `d` is the lane's. One that is no record names the lane's identity
    in its place, or is from a time when there was main alone.
    """
    listed = "SELECT FROM seckill_lane AS l WHERE d.place LIKE l.identity || ':%%' AND l.name"
    unreadable = (
        f"NOT EXISTS ({listed} <> '{lane.list}')"
        if lane.name == MAIN
        else f"EXISTS ({listed} = '{lane.list}')"
    )
    mine = of_activity(lane, "d.activity_id")
    return f"(CASE WHEN d.activity_id IS NULL THEN {unreadable} ELSE {mine} END)"


def count(cursor: Cursor, lane: Lane) -> dict[Kind, int]:
    """How many of a lane are neither settled nor dismissed, by kind."""
    cursor.execute(COUNT.format(mine=of_lane(lane)), ())
    return {Kind(kind): number for kind, number in cursor.fetchall()}


def read(
    cursor: Cursor, lane: Lane, origin: str = "", *, most: int | None = None
) -> Iterator[DeadRecord]:
    """Dead records of a lane, the newest first, settled and dismissed ones too: of one origin, or
    all.
    """
    where, arguments = f"WHERE {of_lane(lane)}", []
    if origin:
        source, partition, offset = origin.rsplit(":", 2)
        where += ' AND d.source::text = %s AND d.partition::text = %s AND d."offset"::text = %s'
        arguments = [source, partition, offset]
    bound = "" if most is None else f" LIMIT {int(most)}"
    cursor.execute(
        f"SELECT {COLUMNS} FROM seckill_deadrecord AS d {where} ORDER BY d.id DESC{bound}",
        arguments,
    )
    for number, kind, reason, raw, *rest in cursor.fetchall():
        yield DeadRecord(number, Kind(kind), reason, bytes(raw), *rest)
