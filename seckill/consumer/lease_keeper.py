"""Renews a consumer's lease on its Redis on a thread, so deciding never waits for PostgreSQL.

Owns the verdict whether this consumer may go on: `problem` is "", or why it may not. While
PostgreSQL is away the sale goes on, because nobody can take over without PostgreSQL either. But
perhaps only this consumer is cut off. So Kafka is asked whether the group has commits of a later
term.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import psycopg

from seckill.broker import Position
from seckill.errors import BrokerAway, PostgresAway, RedisAway
from seckill.postgres.access import connect, limit, postgres_errors
from seckill.postgres.lease import RENEW_S, Claim, NotLeading, give_up, lead
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds to wait for an answer of PostgreSQL: far less than a lease lasts.
ANSWER_S = 3
# Seconds until it is logged again that PostgreSQL is away.
TELL_AGAIN_S = 30.0


class LeaseKeeper:
    """One holder's lease. `claimed` is called with the claim that Redis must have from now on."""

    def __init__(
        self,
        pg_dsn: str,
        lane: str,
        holder: str,
        claimed: Callable[[Claim], None],
        committed: Callable[[], Mapping[int, Position]],
    ) -> None:
        self._pg_dsn, self._lane, self._holder = pg_dsn, lane, holder
        self._claimed, self._committed = claimed, committed
        self._connection: psycopg.Connection | None = None
        # One renewal at a time: by the guard for a new connection, or by the thread.
        self._turn = threading.Lock()
        self._leading: tuple[str, Claim] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._told_at = 0.0
        self.problem = ""

    def take(self, run_id: str, claim: Claim) -> Claim:
        """Make this Redis the leader, and keep a lease on it. Returns its claim from now on.

        Raises NotLeading and the like: nothing may be decided. If PostgreSQL is away, this is
        logged, but it is no reason to stop.
        """
        with self._turn:
            self._leading, self.problem = (run_id, claim), ""
            self._start()
            try:
                return self._renew(run_id, claim, compares=True)
            except PostgresAway as away:
                self._tell(away)
                return claim
            except RedisAway as refused:
                self.problem = str(refused)
                raise

    def let_go(self) -> None:
        """The lease ends until `take` is called again: there is no lane that it could be about."""
        with self._turn:
            self._give_up()
            self._leading, self.problem = None, ""

    def run_once(self) -> None:
        """One renewal. Its result is in `problem`."""
        with self._turn:
            if self._leading is None:
                return
            try:
                self._renew(*self._leading)
                self.problem = ""
            except PostgresAway as away:
                self._tell(away)
                self.problem = self._ask_kafka(self._leading[1])
            except RedisAway as refused:
                if not self.problem:
                    log.error("%s", refused, extra=event("not-leading"))
                self.problem = str(refused)

    def close(self) -> None:
        """End the lease, so that somebody else may take over at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            self._give_up()
            self._connection.close()

    def _give_up(self) -> None:
        connection = self._connection
        if connection is None or self._leading is None:
            return
        try:
            with postgres_errors(), connection.transaction():
                limit(connection, ANSWER_S)
                give_up(connection.cursor(), self._holder)
        except PostgresAway as away:
            log.debug("the lease ends by itself: %s", away, extra=event("library"))

    def _renew(self, run_id: str, claim: Claim, *, compares: bool = False) -> Claim:
        try:
            with postgres_errors():
                if self._connection is None or self._connection.closed:
                    self._connection = connect(self._pg_dsn, ANSWER_S, ANSWER_S)
                with self._connection.transaction():
                    limit(self._connection, ANSWER_S)
                    leading = self._lead(
                        self._connection.cursor(), run_id, claim, compares=compares
                    )
        except PostgresAway:
            if self._connection is not None:
                self._connection.close()
            raise
        except RedisAway as refused:
            # This consumer decides nothing any more, so its lease must not block a takeover or a
            # recovery.
            self.problem = str(refused)
            self._give_up()
            raise
        if leading != claim:
            self._claimed(leading)
            self._leading = (run_id, leading)
        self._told_at = 0.0
        return leading

    def _lead(self, cursor: psycopg.Cursor, run_id: str, claim: Claim, *, compares: bool) -> Claim:
        try:
            return lead(cursor, self._lane, run_id, claim, holder=self._holder, compares=compares)
        except psycopg.errors.LockNotAvailable:
            # It answers, so the sale does not go on without it: what is stored just now was decided
            # on the Redis before, and this one may not know of it.
            raise NotLeading(
                "what another Redis has decided is being stored just now, or another one takes over"
            ) from None

    def _ask_kafka(self, claim: Claim) -> str:
        try:
            committed = self._committed()
        except BrokerAway:
            return ""
        for partition, position in committed.items():
            if position.generation == claim.generation and position.term > claim.term:
                return (
                    f"another Redis leads this lane: the group has committed partition {partition} "
                    f"in term {position.term}, this one is in term {claim.term}"
                )
        return ""

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(RENEW_S):
            self.run_once()

    def _tell(self, away: PostgresAway) -> None:
        if not self._told_at or time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.warning(
                "%s: Redis is not compared with it now, the sale goes on",
                away,
                extra=event("not-compared"),
            )
            self._told_at = time.monotonic()
