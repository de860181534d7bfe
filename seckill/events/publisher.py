"""The publisher: from the rows of orders to the topic of events.

Always: send, wait until Kafka has acknowledged all of it, and only then move the cursor. A
publisher that is killed anywhere sends the same events again, with the same ids. Nothing is left
out: events are made from rows, and those stay.
Never: an event behind a later one of its user. Events that Kafka does not acknowledge wait, as long
as it takes. After one was refused, all that follow are sent again with it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import psycopg

from seckill.broker.producer import Producer
from seckill.errors import BrokerAway, PostgresAway
from seckill.events.cloud_event import HEADERS, Event, encode, partition_of
from seckill.events.feed import Cursor, Feed
from seckill.events.keeper import RENEW_S, Keeper
from seckill.postgres.access import postgres_errors
from seckill.process.events import event
from seckill.process.shutdown import Shutdown

log = logging.getLogger(__name__)

# Seconds of the first and of the longest pause while a service is away.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
# Seconds until a service that stays away is logged again.
TELL_AGAIN_S = 10.0
# Seconds of one wait for Kafka; heartbeats and a stop come between two.
FLUSH_S = 0.5


class NotOurs(Exception):
    """Another publisher has the cursor."""


@dataclass
class Publisher:
    """One publisher. `run_once` publishes one chunk; `run` goes on until a stop is requested."""

    topic: str
    partitions: int
    open_postgres: Callable[[], psycopg.Connection]
    open_producer: Callable[[], Producer]
    keeper: Keeper
    shutdown: Shutdown
    feed: Feed = field(default_factory=Feed)
    interval_s: float = 0.2
    status_interval_s: float = 60.0
    say: Callable[[str], None] = print
    # Called every turn with the reason why nothing is published, or "".
    beat: Callable[["Publisher", str], None] = lambda publisher, hold: None

    published: int = 0
    # Who publishes in its place, or "".
    standby: str = ""
    # About how many rows wait, as of the last look; -1: not known yet.
    behind: int = -1
    _connection: psycopg.Connection | None = None
    _producer: Producer | None = None
    _told_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _renew_at: float = 0.0

    def run(self, *, drain: bool = False) -> None:
        """Turns until a stop is requested or, with `drain`, until all is published."""
        next_status = time.monotonic() + self.status_interval_s
        while not self.shutdown.requested:
            if time.monotonic() >= next_status:
                self.say(self.status_line())
                next_status = time.monotonic() + self.status_interval_s
            try:
                done = self.run_once()
            except (BrokerAway, PostgresAway) as away:
                self._tell(f"{away}; events wait in PostgreSQL, nothing is lost. Trying again.")
                self.beat(self, str(away))
                self.shutdown.wait(self._pause_s)
                self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
                continue
            except NotOurs as other:
                # A stand-by holds nothing up, so it raises no alarm.
                self.standby = str(other)
                self.beat(self, "")
                self.shutdown.wait(RENEW_S)
                continue
            self.standby = ""
            if self._told_at:
                log.warning("going on: all services answer again", extra=event("going-on"))
                self._told_at, self._pause_s = 0.0, FIRST_PAUSE_S
            self.beat(self, "")
            if done:
                continue
            if drain and self.behind == 0:
                break
            self.shutdown.wait(self.interval_s)
        self.say(self.status_line())

    def run_once(self) -> int:
        """Publish one chunk. Returns how many events; 0: nothing is left, or nothing safe yet.

        Raises BrokerAway, PostgresAway: then the chunk is sent again. Raises NotOurs.
        """
        try:
            with postgres_errors():
                return self._publish(self._postgres())
        except PostgresAway:
            self._close_postgres()
            raise

    def _publish(self, connection: psycopg.Connection) -> int:
        cursor = self._taken(connection)
        chunk = self.feed.next(connection, cursor)
        self.behind = self.feed.behind(connection, cursor)
        if chunk is None or chunk.cursor == cursor:
            return 0
        self._send(chunk.events)
        if not self.keeper.move(connection, chunk.cursor):
            self._lose(connection)
        self.published += len(chunk.events)
        self.behind = self.feed.behind(connection, chunk.cursor)
        # A chunk without events is a turn too: its rows belong to events before.
        return max(1, len(chunk.events))

    def _send(self, events: list[Event]) -> None:
        """Send them, and wait for all acknowledgements. Raises BrokerAway, NotOurs."""
        if not events:
            return
        producer = self._producer = self._producer or self.open_producer()
        failed = producer.failed
        for each in events:
            producer.send(
                encode(each, self.topic),
                HEADERS,
                key=each.key,
                partition=partition_of(each.key, self.partitions),
            )
        while producer.flush(FLUSH_S) and producer.failed == failed:
            if self.shutdown.requested:
                self._close_producer()
                raise BrokerAway("a stop was requested before it acknowledged all events")
            why = producer.last_error or "no acknowledgement yet"
            self.beat(self, f"Kafka is away: {why}")
            if time.monotonic() >= self._renew_at:
                with postgres_errors():
                    self._taken(self._postgres())
        if producer.failed != failed:
            why = producer.last_error
            self._close_producer()
            raise BrokerAway(f"it did not take an event: {why}")

    def status_line(self) -> str:
        """What was published, and what waits."""
        if self.standby:
            return f"[events] stand-by: {self.standby}"
        waiting = "unknown" if self.behind < 0 else f"{self.behind:,} rows"
        return f"[events] published {self.published:,} | waiting {waiting}"

    def close(self) -> None:
        """Give the cursor back, close the connections."""
        self._close_producer()
        if self._connection is not None:
            try:
                with postgres_errors():
                    self.keeper.give_back(self._connection)
            except PostgresAway as away:
                log.info(
                    "the cursor is free in some seconds: %s", away, extra=event("service-away")
                )
        self._close_postgres()

    def _taken(self, connection: psycopg.Connection) -> Cursor:
        cursor = self.keeper.take(connection)
        if cursor is None:
            self._lose(connection)
        self._renew_at = time.monotonic() + RENEW_S
        return cursor

    def _lose(self, connection: psycopg.Connection) -> NoReturn:
        # What it has not acknowledged must not come after what the other one sends.
        self._close_producer()
        raise NotOurs(f"{self.keeper.holder(connection)} publishes these events")

    def _postgres(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            with postgres_errors():
                self._connection = self.open_postgres()
        return self._connection

    def _close_postgres(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _close_producer(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _tell(self, text: str) -> None:
        if not self._told_at or time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.error(text, extra=event("service-away"))
            self._told_at = time.monotonic()
