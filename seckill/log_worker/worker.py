"""The log worker: from the tail of the Redis list to PostgreSQL, each record stored once.

Always: read without removing, store and count in one transaction, commit, and only then trim. The
trim removes the batch only if the tail still is that batch. So a worker that is killed at any point
does no harm, and neither do two workers: a record that is read twice is known by its identity.
With each batch the worker reads the claim of Redis: identity, generation, term. Storing is refused
if PostgreSQL knows another lane, a later generation or a later term (see
`seckill.log_worker.storage`). While PostgreSQL stores a batch, a thread reads and parses the next
one. That changes nothing; the result is discarded unless the current batch is stored and trimmed.
Never: a lost record. What cannot be read or stored becomes a dead record with its reason.
"""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import redis

from seckill.dead_letters.from_redis import adopt
from seckill.dead_letters.records import Dead, Kind, place_in_list
from seckill.errors import Poison, PostgresAway, RedisAway
from seckill.formats.record import TOO_LATE, WireRecord, parse
from seckill.lane.client import redis_errors, run_script
from seckill.lane.keys import Lane, position_field
from seckill.lane.record_list import scan
from seckill.log_worker.storage import Storage, Stored
from seckill.postgres.claims import write_claim
from seckill.postgres.lease import CLAIM_FIELDS, Claim, LaneLost, NotLeading, claim_of
from seckill.process.events import event
from seckill.process.shutdown import Shutdown

log = logging.getLogger(__name__)

# Seconds of the first and of the longest pause while a service is away.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# Seconds until a service that stays away is logged again.
TELL_AGAIN_S = 10.0


@dataclass
class _Batch:
    """Entries from the tail of the list, the oldest first, and the result of parsing them.

    `claim`, `trims` and `stored` are what Redis said at the same moment: whose lane it is, how many
    batches were trimmed, and up to which offset PostgreSQL has the records of each partition.
    `texts` and `records` belong together by index. They are not tuples: the garbage collector would
    scan these again and again.
    """

    claim: Claim
    trims: int
    stored: Mapping[str, int]
    entries: list[bytes]
    texts: list[bytes]
    records: list[WireRecord]
    # (index in `entries`, reason)
    dead: list[tuple[int, str]] = field(default_factory=list)
    # Whether the list holds more after these.
    more: bool = False


@dataclass
class LogWorker:
    """One worker. `run_once` moves one batch; `run` goes on until a stop is requested."""

    client: "redis.Redis"
    storage: Storage
    shutdown: Shutdown
    lane: Lane = field(default_factory=Lane)
    batch_size: int = 10_000
    interval_s: float = 0.2
    status_interval_s: float = 60.0
    say: Callable[[str], None] = print
    # Called every turn with the reason why nothing is stored, or "".
    beat: Callable[["LogWorker", str], None] = lambda worker, hold: None

    stored: int = 0
    known: int = 0
    parked: int = 0
    _told_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _ahead: "Future[_Batch] | None" = None
    # Batches trimmed from the list, as of this worker's last trim.
    _trims: int = -1
    # Length of a list that is not the lane's, when its entries became dead records.
    _named: int = 0
    # Whether the last batch left more in the list.
    _more: bool = False

    def run(self, *, drain: bool = False) -> None:
        """Turns until a stop is requested or, with `drain`, until the list is empty."""
        next_status = time.monotonic() + self.status_interval_s
        adopted = False
        while not self.shutdown.requested:
            if time.monotonic() >= next_status:
                self.say(self.status_line())
                self._recount_dead()
                next_status = time.monotonic() + self.status_interval_s
            try:
                if not adopted:
                    adopt(self.client, self.lane, self.storage.keep_apart)
                    adopted = True
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
            if not self._more and not (drain and handled):
                self.shutdown.wait(self.interval_s)
        self.say(self.status_line())

    def run_once(self) -> int:
        """Store and trim one batch. Returns how many entries were read; 0 if the list is empty.

        Raises RedisAway or PostgresAway. Then nothing is lost, and the next turn starts again.
        """
        batch = self._next()
        self._more = batch.more
        if not batch.entries:
            return 0
        ahead = None
        if batch.more:
            ahead = self._reader.submit(self._read, len(batch.entries))
        try:
            result = self._store(batch)
        except (LaneLost, NotLeading) as refused:
            self._take_the_lane(refused)
            # Read again, in the term that the lane has now.
            batch, ahead = self._read(0), None
            self._more = batch.more
            if not batch.entries:
                return 0
            result = self._store(batch)
        if self._trim(batch, result):
            self._ahead = ahead
        return len(batch.entries)

    def _next(self) -> _Batch:
        """The batch at the tail: the one that was read ahead, if it is still the tail."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            batch = ahead.result()
            # It was read before the last trim. It is valid if that was the only trim since.
            batch.trims += 1
            if batch.entries and batch.trims == self._trims:
                return batch
        return self._read(0)

    def status_line(self) -> str:
        """What waits, was stored, was known already and was parked."""
        try:
            with redis_errors():
                waiting = self.client.llen(self.lane.list)
                dead = int(self.client.hget(self.lane.state, "parked") or 0)
        except RedisAway as away:
            return f"[log worker] stored {self.stored:,} | parked {self.parked:,} | {away}"
        return (
            f"[log worker] waiting {waiting:,} | stored {self.stored:,} | already stored"
            f" {self.known:,} | parked {self.parked:,} (in all {dead:,})"
        )

    def _read(self, skip: int) -> _Batch:
        """The batch before the last `skip` entries of the list. Raises RedisAway.

        It ends with a whole request: a loss of Redis between two batches must not leave half of an
        order. So it can have up to MAX_ITEMS - 1 entries less than `batch_size`.
        """
        # No MULTI, which a full Redis refuses. The claim and the number of trims are read first and
        # last: if they are equal nobody has trimmed in between, and nothing else changes the tail.
        pipe = self.client.pipeline(transaction=False)
        while True:
            pipe.hmget(self.lane.state, *CLAIM_FIELDS, "trims")
            # One more than fits tells whether the last request goes on.
            pipe.lrange(self.lane.list, -self.batch_size - 1 - skip, -1 - skip)
            pipe.hgetall(self.lane.stored)
            pipe.hmget(self.lane.state, *CLAIM_FIELDS, "trims")
            with redis_errors():
                before, tail, stored, after = pipe.execute()
            if before == after:
                break
        *claim, trims = before
        tail.reverse()
        more = len(tail) > self.batch_size
        if more:
            del tail[_end_of_a_request(tail) :]
        batch = _Batch(
            claim_of(claim),
            int(trims or 0),
            {name.decode(): int(end) for name, end in stored.items()},
            tail,
            tail,
            [],
            more=more,
        )
        try:
            batch.records = [parse(raw) for raw in tail]
        except Poison:
            _sift(batch)
        return batch

    def _store(self, batch: _Batch) -> Stored:
        """Store it all in one transaction. A record that PostgreSQL refuses becomes dead too."""
        dead = [
            Dead(
                Kind.UNREADABLE,
                batch.entries[index],
                reason,
                place_in_list(batch.claim, batch.trims, index),
            )
            for index, reason in batch.dead
        ]
        result = self.storage.store(batch.claim, batch.records, batch.texts, dead, batch.stored)
        self.stored += result.new
        self.known += result.known
        return result

    def _trim(self, batch: _Batch, result: Stored) -> bool:
        """Trim a batch off the list. False if somebody else has removed it."""
        refused = {index for index, _ in result.refused}
        stored = dict(batch.stored)
        for index, record in enumerate(batch.records):
            # The order of a late payment need not be a row.
            if index not in refused and record.status != TOO_LATE:
                place = position_field(record.source, record.partition)
                stored[place] = max(stored.get(place, 0), record.offset + 1)
        moved = [(name, after) for name, after in stored.items() if batch.stored.get(name) != after]
        keys = [self.lane.list, self.lane.state, self.lane.stored]
        reasons = [reason for _, reason in (*batch.dead, *result.refused)]
        # How many dead records need a person. The desk and the metrics read it in Redis.
        parked = self.storage.count_dead() if reasons else ""
        ends: list[str | int | bytes] = [len(batch.entries), batch.entries[0], batch.entries[-1]]
        pairs = [part for pair in moved for part in pair]
        self._trims, taken = run_script(
            self.client, "trim_batch", keys, [*ends, batch.trims, parked, *pairs]
        )
        if taken and reasons:
            self.parked += len(reasons)
            log.error(
                "%d entries cannot be stored and are dead records in PostgreSQL: manage.py "
                "dead_letters list; the first reason: %s",
                len(reasons),
                reasons[0],
                extra=event("records-parked", count=len(reasons)),
            )
        return bool(taken)

    def _recount_dead(self) -> None:
        """Correct the number of dead records in Redis: replayed ones are settled by their rows."""
        try:
            with redis_errors():
                if int(self.client.hget(self.lane.state, "parked") or 0):
                    self.client.hset(self.lane.state, "parked", self.storage.count_dead())
        except (RedisAway, PostgresAway) as away:
            self._tell(away)

    def _take_the_lane(self, refused: RedisAway) -> None:
        """After a start of Redis, or before its first term: lead the lane unless others do.

        Raises NotLeading if somebody decides on another Redis. Then what this Redis has decided
        since becomes dead records and is never stored.
        """
        with redis_errors():
            run_id = self.client.info("server")["run_id"]
            fields: Any = self.client.hmget(self.lane.state, *CLAIM_FIELDS)
            claim = claim_of(fields)
        try:
            leading = self.storage.lead(run_id, claim)
        except NotLeading:
            self._name_overlap()
            raise
        write_claim(self.client, self.lane, leading)
        log.warning(
            "this Redis leads the lane from now on, in term %d (%s)",
            *(leading.term, refused),
            extra=event("leading"),
        )

    def _name_overlap(self) -> None:
        """Keep apart the records of a Redis that does not lead. Stored ones are settled already."""
        named = 0
        with redis_errors():
            if self.client.llen(self.lane.list) == self._named:
                return
            for chunk in scan(self.client, self.lane):
                self.storage.keep_apart([_overlap(raw) for raw in chunk])
                named += len(chunk)
        self._named = named
        log.error(
            "another Redis leads this lane: %d records of this one are not stored. Those that the "
            "other one has not decided too are listed by manage.py dead_letters list",
            named,
            extra=event("overlap", count=named),
        )

    def _tell(self, away: Exception) -> None:
        if not self._told_at or time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.error(
                "%s; records wait in Redis, nothing is lost. Trying again.",
                away,
                extra=event("service-away"),
            )
            self._told_at = time.monotonic()


def _end_of_a_request(entries: list[bytes]) -> int:
    """How many of the entries are stored in one batch; the last one belongs to the next.

    All but that one; fewer if that one belongs to the same request as those before it, unless the
    request began with the first entry.
    """
    following = _place(entries[-1])
    end = len(entries) - 1
    while end > 0 and following is not None and _place(entries[end - 1]) == following:
        end -= 1
    return end or len(entries) - 1


def _place(raw: bytes) -> tuple[str, int, int] | None:
    """The message of a record; None if it is not a record."""
    try:
        record = parse(raw)
    except Poison:
        return None
    return record.source, record.partition, record.offset


def _sift(batch: _Batch) -> None:
    """Parse a batch in which some entries are not records."""
    batch.texts = []
    for index, raw in enumerate(batch.entries):
        try:
            batch.records.append(parse(raw))
        except Poison as poison:
            batch.dead.append((index, str(poison)))
        else:
            batch.texts.append(raw)


def _overlap(raw: bytes) -> Dead:
    return Dead(Kind.OVERLAP, raw, "decided on a Redis that did not lead the lane", "overlap")
