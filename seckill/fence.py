"""The fence: what stops all deciding in a lane when Redis is found to be older than the sale.

Owns the check that a consumer makes with each new connection to Redis, before its first batch: has
PostgreSQL, or the group's commit in Kafka, seen more than Redis knows? A position that a consumer
holds itself is checked by the script with every batch; it says nothing of other partitions. Only
`manage.py recover` lifts a fence.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg
import redis

from seckill.broker import Position
from seckill.errors import BrokerAway, RedisAway
from seckill.events import event
from seckill.keys import Lane, position_field
from seckill.redis_client import run_script
from seckill.stats import LaneStatus, read_lane

log = logging.getLogger(__name__)

REWOUND = "REWOUND"
RECOVERING = "RECOVERING"
# Seconds for PostgreSQL's answer: the sale does not wait for it.
PG_LIMIT_S = 3
# One descent of the identity's index for each partition.
LAST_STORED = """
SELECT p.number, (
    SELECT r."offset" FROM seckill_record r WHERE r.source = %s AND r.partition = p.number
    ORDER BY r."offset" DESC LIMIT 1
) FROM unnest(%s::int[]) AS p(number)
"""


class NotCompared(RedisAway):
    """Transient: Redis answers, and it is not known yet whether it is older than the sale."""

    def __init__(self, reason: object) -> None:
        Exception.__init__(
            self,
            f"Redis may be older than the sale, and cannot be compared with Kafka yet: {reason}",
        )
        self.service = "Redis"


def fence(client: "redis.Redis", lane: Lane, word: str, why: str, *, replace: bool = False) -> bool:
    """Stop all deciding. Whether it was set: an older fence stays, unless `replace`."""
    return bool(run_script(client, "fence", [lane.state], [word, why, "1" if replace else "0"]))


def lift(client: "redis.Redis", lane: Lane) -> bool:
    """Let the lane go on. Whether there was a fence."""
    return bool(run_script(client, "fence", [lane.state], ["", "", "0"]))


@dataclass
class Guard:
    """The check of one consumer's lane. Call it with each new connection to Redis."""

    client: "redis.Redis"
    lane: Lane
    pg_dsn: str
    find_source: Callable[[], str | None]
    # The group's commits by partition.
    committed: Callable[[], Mapping[int, Position]]

    def __call__(self) -> None:
        """Fence the lane if Redis is behind. Raises RedisAway.

        Without Kafka's answer it raises NotCompared, so nothing is decided: the requests come from
        there. A PostgreSQL that is away is passed over, and told: the sale does not need it.
        """
        if not self._open(read_lane(self.client, self.lane)):
            return
        try:
            source = self.find_source()
            committed = self.committed()
        except BrokerAway as away:
            raise NotCompared(away) from None
        if source is None:
            raise NotCompared("it does not know the topic (it has just started, or it is deleted)")
        stored_rows = self._stored(source, list(committed))
        # Redis is read last: others decide, commit and store all the time, and what was committed
        # or stored was decided before.
        lane = read_lane(self.client, self.lane)
        if not self._open(lane):
            return
        for what, seen in (
            ("the group has committed", _comparable(committed, source, lane.generation)),
            ("PostgreSQL has stored", stored_rows),
        ):
            for partition, following in seen.items():
                stored = lane.positions.get(position_field(source, partition))
                if following > (stored or 0):
                    why = f"partition {partition} stands at {stored or 0}, {what} up to {following}"
                    if fence(self.client, self.lane, REWOUND, why):
                        log.error("REWOUND: %s. The lane is fenced", why, extra=event("fenced"))
                    return

    @staticmethod
    def _open(lane: LaneStatus) -> bool:
        return lane.loaded and lane.fence is None

    def _stored(self, source: str, partitions: list[int]) -> dict[int, int]:
        try:
            with psycopg.connect(
                self.pg_dsn,
                connect_timeout=PG_LIMIT_S,
                options=f"-c statement_timeout={PG_LIMIT_S}s",
                tcp_user_timeout=PG_LIMIT_S * 1000,
            ) as connection:
                rows = connection.execute(LAST_STORED, (source, partitions)).fetchall()
        except psycopg.Error as away:
            log.warning(
                "PostgreSQL is away (%s): Redis is not compared with it now, the sale goes on",
                str(away).strip().splitlines()[0],
                extra=event("not-compared"),
            )
            return {}
        return {partition: offset + 1 for partition, offset in rows if offset is not None}


def _comparable(committed: Mapping[int, Position], source: str, generation: int) -> dict[int, int]:
    """Commits of this topic and generation: a recovery overrules those of earlier ones."""
    return {
        partition: position.offset
        for partition, position in committed.items()
        if position.source == source and position.generation == generation
    }
