"""The log worker: from the tail of the Redis list to PostgreSQL, each record stored once.

Always: read without removing, store and count in one transaction, commit, and only then trim; the
trim takes the batch only if the tail still is that batch. So a worker killed anywhere, or two of
them, do no harm: what is read twice is known again by its identity.
While PostgreSQL stores a batch, a thread reads and parses the next one, which lies before it in the
list: it changes nothing, and is forgotten unless the batch before it was stored and trimmed.
Never: a record dropped. One that cannot be read or stored is parked with its reason by the trim.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import psycopg
import redis

from seckill.engine import is_transient
from seckill.errors import Poison, PostgresAway, RedisAway
from seckill.events import event
from seckill.keys import Lane
from seckill.records import WireRecord, parse
from seckill.redis_client import run_script
from seckill.shutdown import Shutdown
from seckill.storage import Storage

log = logging.getLogger(__name__)

# Seconds of the first and the longest pause while a service is away.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
# A service that stays away is told again each so many seconds.
TELL_AGAIN_S = 10.0


@dataclass
class _Batch:
    """Entries from the tail of the list, the oldest first, and what became of reading them.

    `texts` are those of the `records`, one for one. No tuple a record: Python's garbage collector
    would go through all of them again and again.
    """

    entries: list[bytes]
    texts: list[bytes]
    records: list[WireRecord]
    dead: list[tuple[bytes, str]] = field(default_factory=list)


@dataclass
class LogWorker:
    """One worker. `run_once` moves one batch; `run` goes on until a stop is asked for."""

    client: "redis.Redis"
    storage: Storage
    shutdown: Shutdown
    lane: Lane = field(default_factory=Lane)
    batch_size: int = 10_000
    interval_s: float = 0.2
    status_interval_s: float = 60.0
    say: Callable[[str], None] = print
    # Called every turn, with what keeps it from storing or "".
    beat: Callable[["LogWorker", str], None] = lambda worker, hold: None

    stored: int = 0
    known: int = 0
    parked: int = 0
    _told_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _ahead: "Future[_Batch] | None" = None

    def run(self, *, drain: bool = False) -> None:
        """Turns until a stop is asked for, or, to drain, until the list is empty."""
        next_status = time.monotonic() + self.status_interval_s
        while not self.shutdown.requested:
            if time.monotonic() >= next_status:
                self.say(self.status_line())
                next_status = time.monotonic() + self.status_interval_s
            try:
                handled = self.run_once()
            except (RedisAway, PostgresAway) as away:
                self._tell(away)
                self.beat(self, str(away))
                self.shutdown.wait(self._pause_s)
                self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
                continue
            if self._told_at:
                log.warning("going on: all services answer again", extra=event("going-on"))
                self._told_at, self._pause_s = 0.0, FIRST_PAUSE_S
            self.beat(self, "")
            if drain and handled == 0:
                break
            if handled < self.batch_size and not (drain and handled):
                self.shutdown.wait(self.interval_s)
        self.say(self.status_line())

    def run_once(self) -> int:
        """Store one batch and trim it. How many entries were read; 0 when the list is empty.

        Raises RedisAway or PostgresAway; nothing is lost then, and the next turn begins anew.
        """
        ahead, self._ahead = self._ahead, None
        batch = ahead.result() if ahead is not None else self._read(0)
        if not batch.entries and ahead is not None:
            # Read before the last batch was stored: more may have come since.
            batch = self._read(0)
        if not batch.entries:
            return 0
        if len(batch.entries) == self.batch_size:
            ahead = self._reader.submit(self._read, len(batch.entries))
        else:
            ahead = None
        self._store(batch.texts, batch.records, batch.dead)
        if self._trim(batch.entries, batch.dead):
            self._ahead = ahead
        return len(batch.entries)

    def status_line(self) -> str:
        """What waits, was stored, was known already and was parked."""
        try:
            waiting, dead = self.client.llen(self.lane.list), self.client.llen(self.lane.dead)
        except redis.RedisError as away:
            return f"[log worker] stored {self.stored:,} | parked {self.parked:,} | Redis: {away}"
        return (
            f"[log worker] waiting {waiting:,} | stored {self.stored:,} | already stored"
            f" {self.known:,} | parked {self.parked:,} (in {self.lane.dead}: {dead:,})"
        )

    def _read(self, skip: int) -> _Batch:
        """The batch before the last `skip` entries of the list. Raises RedisAway."""
        try:
            tail: list[bytes] = self.client.lrange(  # type: ignore[assignment]
                self.lane.list, -self.batch_size - skip, -1 - skip
            )
        except redis.RedisError as away:
            if is_transient(away):
                raise RedisAway(away) from None
            raise
        tail.reverse()
        try:
            return _Batch(tail, tail, [parse(raw) for raw in tail])
        except Poison:
            return _sift(tail)

    def _store(
        self, texts: Sequence[bytes], records: Sequence[WireRecord], dead: list[tuple[bytes, str]]
    ) -> None:
        """Store a batch; where PostgreSQL refuses a value, halve it until the culprit is alone."""
        if not records:
            return
        try:
            stored = self.storage.store(records)
        except psycopg.errors.DataError as wrong:
            if len(records) == 1:
                dead.append((texts[0], str(wrong).strip().splitlines()[0]))
                return
            middle = len(records) // 2
            self._store(texts[:middle], records[:middle], dead)
            self._store(texts[middle:], records[middle:], dead)
            return
        self.stored += stored
        self.known += len(records) - stored

    def _trim(self, batch: Sequence[bytes], dead: Sequence[tuple[bytes, str]]) -> bool:
        """Take a batch, the oldest entry first, off the list, and park what of it is dead.

        False where somebody else took it.
        """
        letters: list[str | int | bytes] = [
            b'{"reason":%s,"record":%s}' % (_json(reason), _json(raw.decode(errors="replace")))
            for raw, reason in dead
        ]
        taken = run_script(
            self.client,
            "trim_batch",
            [self.lane.list, self.lane.dead],
            [len(batch), batch[0], batch[-1], *letters],
        )
        if taken and dead:
            self.parked += len(dead)
            log.error(
                "%d records cannot be stored and are parked in %s; the first reason: %s",
                len(dead),
                self.lane.dead,
                dead[0][1],
                extra=event("records-parked", count=len(dead)),
            )
        return bool(taken)

    def _tell(self, away: Exception) -> None:
        if not self._told_at or time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.error(
                "%s; records wait in Redis, nothing is lost. Trying again.",
                away,
                extra=event("service-away"),
            )
            self._told_at = time.monotonic()


def _sift(entries: list[bytes]) -> _Batch:
    """The batch of entries of which some are no records.

    The trim knows a batch again by its ends. No two records are the same, but junk can be: so a
    batch ends with a record, or it is one entry.
    """
    batch = _Batch(entries, [], [])
    last = 0
    for place, raw in enumerate(entries):
        try:
            batch.records.append(parse(raw))
        except Poison as poison:
            batch.dead.append((raw, str(poison)))
        else:
            batch.texts.append(raw)
            last = place
    surplus = len(entries) - 1 - last
    del entries[last + 1 :]
    del batch.dead[len(batch.dead) - surplus :]
    return batch


def _json(text: str) -> bytes:
    return msgspec.json.encode(text)
