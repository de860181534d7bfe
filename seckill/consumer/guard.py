"""The guard: what a consumer checks of a Redis before and while it decides there.

Owns the check of each new connection before its first batch: Does this Redis lead the lane? Have
PostgreSQL or the group's commits in Kafka seen more than this Redis knows? The script checks with
every batch the position that a consumer holds itself, but this says nothing about other partitions.
"""

import logging
from collections.abc import Callable, Mapping

import psycopg
import redis

from seckill.broker import Position
from seckill.consumer.lease_keeper import ANSWER_S, LeaseKeeper
from seckill.errors import BrokerAway, PostgresAway, RedisAway
from seckill.lane.client import redis_errors
from seckill.lane.fence import REWOUND, TORN, fence
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.postgres.access import connect, limit, postgres_errors
from seckill.postgres.claims import claim_of_lane, write_claim
from seckill.postgres.lease import Claim, LaneLost, RedisOlder
from seckill.postgres.witness import Steered, last_rows, lost_acts, steered, undecided
from seckill.process.events import event

log = logging.getLogger(__name__)


class NotCompared(RedisAway):
    """Transient: Redis answers, but it is not known yet whether it is older than the sale."""

    def __init__(self, reason: object) -> None:
        super().__init__(
            reason, "may be older than the sale, and cannot be compared with Kafka yet"
        )


FindPositions = Callable[["redis.Redis", Lane, LaneStatus], Mapping[str, int]]


def of_requests(client: "redis.Redis", lane: Lane, status: LaneStatus) -> Mapping[str, int]:
    """The positions that the commits of the consumers' group are compared with."""
    return status.positions


class Guard:
    """The checks of one consumer's Redis. `client` is a connection beside the engine's own.

    `find_source` and `committed` ask Kafka for the topic's id and the group's commits.
    `find_positions` returns the lane's positions in that topic; it may raise RedisAway.
    """

    def __init__(
        self,
        client: "redis.Redis",
        lane: Lane,
        pg_dsn: str,
        find_source: Callable[[], str | None],
        committed: Callable[[], Mapping[int, Position]],
        holder: str = "",
        find_positions: FindPositions = of_requests,
    ) -> None:
        self._client, self._lane, self._pg_dsn = client, lane, pg_dsn
        self._find_source, self._committed = find_source, committed
        self._find_positions = find_positions
        self._keeper = LeaseKeeper(pg_dsn, lane.list, holder, self._write_claim, committed)

    @property
    def problem(self) -> str:
        """Why nothing may be decided any more on the connection admitted last; "" if it may."""
        return self._keeper.problem

    def admit(self, run_id: str) -> Claim:
        """Check a new connection to the server with this run id; returns its claim.

        If Redis is behind, the lane is fenced. Without Kafka's answer nothing may be decided:
        raises NotCompared. The requests come from Kafka anyway. If PostgreSQL is away, this is
        logged and the comparison is left out: the sale does not need it. Raises RedisAway.
        """
        self._same_server(run_id)
        lane = read_lane(self._client, self._lane)
        claim = claim_of_lane(lane)
        if not lane.loaded and not lane.positions:
            # The script will answer NOT_LOADED. A lease on the server before would block a
            # recovery.
            self._keeper.let_go()
            return claim
        try:
            claim = self._keeper.take(run_id, claim)
        except (LaneLost, RedisOlder) as lost:
            word = TORN if isinstance(lost, LaneLost) else REWOUND
            self._fence(word, str(lost), lane.generation)
            return claim
        if lane.fence is None:
            self._compare(lane.generation)
        return claim

    def close(self) -> None:
        """End the lease."""
        self._keeper.close()

    def _same_server(self, run_id: str) -> None:
        """After a failover one name may lead to two servers for a while."""
        with redis_errors():
            found = self._client.info("server")["run_id"]
        if found != run_id:
            self._client.connection_pool.disconnect()
            raise RedisAway("two servers answer at this address: trying again")

    def _compare(self, generation: int) -> None:
        try:
            source = self._find_source()
            committed = self._committed()
        except BrokerAway as away:
            raise NotCompared(away) from None
        if source is None:
            raise NotCompared("it does not know the topic (it has just started, or it is deleted)")
        try:
            ends, acts = self._ask_postgres()
        except PostgresAway as away:
            log.warning(
                "%s: Redis is not compared with it now, the sale goes on",
                away,
                extra=event("not-compared"),
            )
            ends, acts = {}, {}
        # Redis is read last. Others keep deciding, committing, storing and steering, and whatever
        # is committed, stored or journalled was done in Redis before.
        lane = read_lane(self._client, self._lane)
        if not lane.loaded or lane.fence is not None or lane.generation != generation:
            return
        positions = self._find_positions(self._client, self._lane, lane)
        why = (
            _committed_later(lane, positions, source, committed)
            or undecided(lane.positions, ends)
            or lost_acts(lane, acts)
        )
        if why:
            self._fence(REWOUND, why, generation)

    def _ask_postgres(self) -> tuple[dict[str, int], dict[int, Steered]]:
        connection: psycopg.Connection | None = None
        try:
            with postgres_errors():
                connection = connect(self._pg_dsn, ANSWER_S, ANSWER_S)
                with connection.transaction():
                    limit(connection, ANSWER_S)
                    cursor = connection.cursor()
                    return last_rows(cursor, self._lane), steered(cursor, self._lane)
        finally:
            if connection is not None:
                connection.close()

    def _fence(self, word: str, why: str, generation: int) -> None:
        if fence(self._client, self._lane, word, why, generation=generation):
            log.error("%s: %s. The lane is fenced", word, why, extra=event("fenced"))

    def _write_claim(self, claim: Claim) -> None:
        write_claim(self._client, self._lane, claim)


def _committed_later(
    lane: LaneStatus,
    positions: Mapping[str, int],
    source: str,
    committed: Mapping[int, Position],
) -> str:
    """A partition of which the group has committed what this Redis does not know, in words; ""
    if none: offsets above its position, or a later term, in which another Redis has led.

    PostgreSQL does not know that term either if it is from before the takeover.
    Only commits of this topic and generation count: a recovery overrules earlier ones.
    """
    for partition, position in committed.items():
        if position.source != source or position.generation != lane.generation:
            continue
        stands = positions.get(position_field(source, partition), 0)
        if position.offset > stands:
            return (
                f"partition {partition} stands at {stands}, the group has committed up to "
                f"{position.offset}"
            )
        if position.term > lane.term:
            return (
                f"the group has committed partition {partition} in term {position.term}, this "
                f"Redis is in term {lane.term}: another one has led the lane since"
            )
    return ""
