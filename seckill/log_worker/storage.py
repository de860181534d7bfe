"""Records into PostgreSQL: one transaction stores a batch and counts it into the inventory.

Owns the SQL of the log worker and its one connection. A record that was stored before is known by
its identity, and is counted only once. A batch is copied straight into the table. Only if
PostgreSQL finds one of its records there already, the new ones are selected through a temporary
table, and the others are compared by content. What PostgreSQL refuses becomes a dead record in the
same transaction, so nothing is stored before everything older is stored or kept.
Only a batch that has settlements pays for them: see `seckill.log_worker.settlements`.
Always: the transaction locks the lane's row, and stores only what a Redis of the lane's generation
and term has decided. So a batch that was read before a recovery never arrives after it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.conninfo import make_conninfo

from seckill.config.addresses import GONE
from seckill.dead_letters import records as dead_records
from seckill.dead_letters.records import Dead
from seckill.errors import PostgresAway
from seckill.formats.lanes import MAIN
from seckill.formats.record import NOT_ACCEPTED, WireRecord, same_content, same_identity
from seckill.lane.keys import DEFAULT_LIST, Lane
from seckill.log_worker import settlements
from seckill.log_worker.copy_rows import COLUMNS, packed
from seckill.log_worker.ids import is_behind, skip_ids, skip_ids_if_behind
from seckill.log_worker.settlements import REFUSED_ROWS
from seckill.postgres import lease
from seckill.postgres.access import postgres_errors
from seckill.postgres.lease import Claim, NotLeading, PostgresOlder
from seckill.postgres.seasons import STORED_ONCE, TABLE, is_partitioned, refuse_if_without
from seckill.postgres.witness import lost_rows

# Seconds to wait for a connection.
CONNECT_TIMEOUT_S = 5
# Seconds without an answer after which the connection counts as lost. A line that died silently (a
# firewall, a host without power) would otherwise block for ever.
ANSWER_LIMIT_S = 60.0
# Seconds between two checks whether the wait is over.
LOOK_S = 0.1
# (activity, item).
Item = tuple[int, int]
_NAMES = ", ".join(f'"{column}"' for column in COLUMNS)
IDENTITY = 'source, partition, "offset", item_id'
# The promise of a commit must not depend on settings of a role or database: an acknowledged commit
# is on disk (`remote_apply` promises more, and stays), and a transaction has no time limit.
BEGIN = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
    set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true)
"""
# The first version that has this setting.
TRANSACTION_TIMEOUT_SINCE = 170000
COPY_RECORDS = f"COPY seckill_record ({_NAMES}) FROM STDIN (FORMAT BINARY)"
CREATE_BATCH = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS batch (place int GENERATED ALWAYS AS IDENTITY, "
    + ", ".join(f'"{column}" {kind}' for column, kind in COLUMNS.items())
    + ") ON COMMIT DROP"
)
EMPTY_BATCH = "TRUNCATE batch RESTART IDENTITY"
COPY_BATCH = f"COPY batch ({_NAMES}) FROM STDIN (FORMAT BINARY)"
STORE_NEW_ONES = f"""
WITH stored AS (
    INSERT INTO seckill_record ({_NAMES}) SELECT {_NAMES} FROM batch ORDER BY place
    ON CONFLICT ({IDENTITY}) DO NOTHING RETURNING activity_id, item_id, quantity
)
SELECT activity_id, item_id, sum(quantity)::bigint, count(*) FROM stored GROUP BY 1, 2
"""
# Records of the batch that are not rows now, or whose row is another order.
NOT_STORED = f"""
SELECT b.place, r.id IS NULL, r.user_id, r.activity_id, r.quantity, r.request_id
FROM batch AS b LEFT JOIN seckill_record AS r ON {same_identity("r", "b")}
WHERE r.id IS NULL OR NOT {same_content("r", "b")}
ORDER BY b.place
"""
COUNT_SOLD = """
INSERT INTO seckill_item AS item (activity_id, item_id, sold) VALUES (%s, %s, %s)
ON CONFLICT (activity_id, item_id) DO UPDATE SET sold = item.sold + EXCLUDED.sold
"""
# A PostgreSQL that came back older may lack the row of an activity. Without one its records would
# count for lane main, whose Redis does not know them.
KEEP_LANE = """
INSERT INTO seckill_activity (id, name, lane, created_at)
SELECT number, '', %s, clock_timestamp() FROM unnest(%s::bigint[]) AS number
ON CONFLICT (id) DO NOTHING
"""


class _Line(psycopg.Connection):
    """A connection that does not wait for ever."""

    answer_limit_s = ANSWER_LIMIT_S

    def wait(self, gen: PQGen[RV], interval: float = LOOK_S, timeout: float | None = None) -> RV:
        """As psycopg's. Without an answer in time it closes the connection: OperationalError."""
        try:
            return super().wait(gen, interval, timeout or self.answer_limit_s)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(
                f"no answer in {timeout or self.answer_limit_s:.0f} s"
            ) from None


@dataclass
class Stored:
    """The result of a batch: the number of new rows, the number of entries stored before, and the
    refused entries as (index, reason)."""

    new: int = 0
    known: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


class Storage:
    """One connection, opened when it is needed, and again after it was lost."""

    def __init__(
        self, dsn: str, lane: str = DEFAULT_LIST, answer_limit_s: float = ANSWER_LIMIT_S
    ) -> None:
        self._dsn, self._lane = dsn, lane
        self._of = Lane(lane)
        self._answer_limit_s = answer_limit_s
        self._connection: _Line | None = None

    def store(
        self,
        claim: Claim,
        records: Sequence[WireRecord],
        texts: Sequence[bytes],
        dead: Sequence[Dead] = (),
        stored: Mapping[str, int] | None = None,
    ) -> Stored:
        """Store entries of the list and count their units. Keep apart what is dead or refused.

        `claim` is what their Redis said of itself when they were read. `texts` are the records as
        they were in the list. `stored` is what Redis says was stored before.
        Raises PostgresAway: it is unknown whether the batch was committed; a repeat is harmless.
        Raises NotLeading, PostgresOlder and the like: nothing is stored, because this Redis and
        this PostgreSQL do not belong together.
        """
        with self._errors():
            connection = self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                self._begin(cursor, claim, stored or {})
                result = Stored()
                if records:
                    self._store_all(cursor, records, result)
                refused = [
                    Dead(dead_records.Kind.REFUSED, texts[index], reason, "")
                    for index, reason in result.refused
                ]
                dead_records.keep(cursor, [*dead, *refused])
                return result

    def keep_apart(self, dead: Sequence[Dead]) -> None:
        """Keep apart records that must not be stored. Raises PostgresAway."""
        with self._errors():
            connection = self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                dead_records.keep(cursor, dead)

    def lead(self, run_id: str, claim: Claim) -> Claim:
        """Make this Redis the leader unless others decide elsewhere: see `lease.lead`."""
        with self._errors():
            connection = self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                return lease.lead(cursor, self._lane, run_id, claim)

    def count_dead(self) -> int:
        """Dead records that need a person. Raises PostgresAway."""
        with self._errors():
            return sum(dead_records.count(self._connect().cursor(), self._of).values())

    def check(self) -> None:
        """Raises PostgresAway unless PostgreSQL answers and has our tables."""
        with self._errors():
            self._connect().execute(
                "SELECT 1 FROM seckill_record, seckill_lane, seckill_deadrecord,"
                " seckill_settlement, seckill_latepayment LIMIT 1"
            )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self, cursor: psycopg.Cursor, claim: Claim, stored: Mapping[str, int]) -> None:
        """Set up the transaction, lock the lane's row, check that Redis and PostgreSQL match."""
        cursor.execute(BEGIN)
        if cursor.connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            cursor.execute("SET LOCAL transaction_timeout = 0")
        row = lease.read(cursor, self._lane, lock="FOR SHARE")
        lease.compare(row, claim)
        if row is None or claim.term < row.term:
            raise NotLeading(
                "another Redis leads it, or it has just started again: what it decided since is "
                "not stored"
            )
        gone = lost_rows(cursor, stored) if stored else ""
        if gone:
            raise PostgresOlder(gone)

    def _store_all(
        self, cursor: psycopg.Cursor, entries: Sequence[WireRecord], result: Stored
    ) -> None:
        """Store the records of a batch, and then what became of holds."""
        if self._of.name != MAIN:
            activities = sorted({entry.activity_id for entry in entries})
            cursor.execute(KEEP_LANE, (self._of.name, activities))
        if NOT_ACCEPTED.isdisjoint({entry.status for entry in entries}):
            self._store(cursor, entries, 0, result)
            return
        settlements.lock_items(cursor, entries)
        records: list[tuple[int, WireRecord]] = []
        others: list[tuple[int, WireRecord]] = []
        for place in enumerate(entries):
            (others if place[1].status in NOT_ACCEPTED else records).append(place)
        if records:
            stored = Stored()
            self._store(cursor, [record for _, record in records], 0, stored)
            result.new, result.known = stored.new, stored.known
            result.refused += [(records[index][0], why) for index, why in stored.refused]
        before = len(result.refused)
        new = settlements.store(cursor, others, result.refused)
        result.new += new
        result.known += len(others) - new - (len(result.refused) - before)

    def _store(
        self, cursor: psycopg.Cursor, records: Sequence[WireRecord], first: int, result: Stored
    ) -> None:
        """Store a part of a batch. If PostgreSQL refuses a row, halve until that row is alone."""
        connection = cursor.connection
        try:
            with connection.transaction():
                copied = _copy(cursor, COPY_RECORDS, records)
                if copied != len(records):
                    raise _NotAllCopied
                units: Counter[Item] = Counter()
                for record in records:
                    units[record.activity_id, record.item_id] += record.quantity
                _count_sold(cursor, units)
                result.new += copied
                return
        except psycopg.errors.UniqueViolation as twice:
            if is_behind(twice):
                skip_ids(cursor, TABLE)
                self._store(cursor, records, first, result)
                return
            # PostgreSQL names the partition's own constraint.
            if not (twice.diag.constraint_name or "").endswith(STORED_ONCE):
                self._halve(cursor, records, first, result, twice)
                return
        except _NotAllCopied:
            # A trigger or a rule of the database drops rows.
            pass
        except REFUSED_ROWS as wrong:
            self._halve(cursor, records, first, result, wrong)
            return
        # Some are stored already, by another worker or by one that died before its trim.
        try:
            with connection.transaction():
                self._store_new_ones(cursor, records, first, result)
        except psycopg.errors.UniqueViolation as twice:
            if not is_behind(twice):
                self._halve(cursor, records, first, result, twice)
                return
            skip_ids(cursor, TABLE)
            self._store(cursor, records, first, result)
        except REFUSED_ROWS as wrong:
            self._halve(cursor, records, first, result, wrong)

    def _store_new_ones(
        self, cursor: psycopg.Cursor, records: Sequence[WireRecord], first: int, result: Stored
    ) -> None:
        cursor.execute(CREATE_BATCH)
        cursor.execute(EMPTY_BATCH)
        _copy(cursor, COPY_BATCH, records)
        stored = cursor.execute(STORE_NEW_ONES).fetchall()
        refused = []
        for place, missing, user, activity, quantity, click in cursor.execute(NOT_STORED):
            reason = "PostgreSQL stored no row and reported no error: a trigger or a rule skips it"
            if not missing:
                reason = (
                    "another order is stored under its identity: "
                    f"user {user}, activity {activity}, quantity {quantity}, request id {click}"
                )
            refused.append((first + place - 1, reason))
        _count_sold(cursor, {(activity, item): n for activity, item, n, _ in stored})
        new = sum(count for *_, count in stored)
        result.new += new
        result.known += len(records) - new - len(refused)
        result.refused += refused

    def _halve(
        self,
        cursor: psycopg.Cursor,
        records: Sequence[WireRecord],
        first: int,
        result: Stored,
        wrong: psycopg.Error,
    ) -> None:
        refuse_if_without(wrong)
        if len(records) == 1:
            result.refused.append((first, str(wrong).strip().splitlines()[0]))
            return
        middle = len(records) // 2
        self._store(cursor, records[:middle], first, result)
        self._store(cursor, records[middle:], first + middle, result)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate PostgreSQL's errors. After one, the next use opens a new connection."""
        try:
            with postgres_errors():
                yield
        except PostgresAway:
            self.close()
            raise

    def _connect(self) -> _Line:
        if self._connection is None or self._connection.closed:
            self._connection = _Line.connect(
                make_conninfo(self._dsn, **GONE),
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                prepare_threshold=None,
            )
            self._connection.answer_limit_s = self._answer_limit_s
            # Over several partitions no index refuses an id that is drawn a second time.
            cursor = self._connection.cursor()
            if is_partitioned(cursor):
                skip_ids_if_behind(cursor, TABLE)
        return self._connection


class _NotAllCopied(Exception):
    """COPY stored fewer rows than it was given."""


def _copy(cursor: psycopg.Cursor, statement: str, records: Sequence[WireRecord]) -> int:
    """How many rows PostgreSQL reports as stored."""
    with cursor.copy(statement) as copy:
        copy.write(packed(records))
    return cursor.rowcount


def _count_sold(cursor: psycopg.Cursor, units: Mapping[Item, int]) -> None:
    """Always in the same order: two workers must not deadlock."""
    cursor.executemany(COUNT_SOLD, [(*item, count) for item, count in sorted(units.items())])
