"""The parent of `run_consumer`'s consumers, and the start at the end of the topic."""

import logging
from dataclasses import dataclass
from typing import ClassVar

from seckill.broker import BrokerAway, Position
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer.batch import skip
from seckill.consumer.child import consume
from seckill.consumer.children import Work
from seckill.consumer.engine import Engine, Status
from seckill.consumer.parent import Parent
from seckill.consumer.status_line import status_line
from seckill.errors import RedisAway, Refused
from seckill.lane.keys import position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.process.events import event
from seckill.telemetry.heartbeats import Kind
from seckill.telemetry.lag import LagWatch, Tails
from seckill.telemetry.sampler import Sampler

log = logging.getLogger(__name__)


@dataclass
class ConsumerGroup(Parent):
    """See `Parent`. Beside its consumers it writes the lane's history."""

    server: Server
    kind: ClassVar[Kind] = Kind.PARENT

    def _work(self) -> Work:
        return consume

    def _beside(self) -> Sampler:
        tails = Tails(self.server)
        watch = LagWatch(self.server.topic, lambda: Topics(self.server), tails)
        return Sampler(self.client, self.lane, watch)

    def skip_to_end(self) -> dict[int, int]:
        """Move every partition to its end, and count what is skipped as {partition: requests}.

        Raises Refused if Redis has no sale to count it for, or is fenced.
        """
        source = self.topics.source(self.server.topic)
        ends = self.topics.end_offsets(self.server.topic)
        starts = self.topics.start_offsets(self.server.topic)
        lane = read_lane(self.client, self.lane)
        skipped = {}
        engine = Engine(self.server.redis_url, self.lane)
        for partition, end in ends.items():
            start = lane.positions.get(position_field(str(source), partition), 0)
            if end > start:
                passed = skip(str(source), partition, start, end, lane.generation)
                status = engine.decide([passed])[0].status
                if status not in (Status.DECIDED, Status.DUPLICATE):
                    raise Refused(
                        f"--reset-offset: Redis answers {status.name}, so nothing can be skipped. "
                        "Load a sale first (--stock 1001:10), or look at manage.py status"
                    )
            skipped[partition] = max(0, end - max(start, starts.get(partition, 0)))
        engine.close()
        positions = {
            p: Position(end, lane.generation, str(source), lane.term) for p, end in ends.items()
        }
        refused = self.topics.move_group(self.server.group_id, self.server.topic, positions)
        if refused:
            log.warning(
                "the group's offsets stay (%s); the positions in Redis have moved",
                refused,
                extra=event("commit-refused"),
            )
        return skipped

    def drained(self) -> bool:
        """Whether all that the topic holds now is decided. False if that is unknown."""
        try:
            return self.lag(read_lane(self.client, self.lane)) == 0
        except (BrokerAway, RedisAway):
            return False

    def waits_for(self) -> str:
        """What is not decided yet and why, in words."""
        try:
            lane = read_lane(self.client, self.lane)
            lag = self.lag(lane)
        except (BrokerAway, RedisAway) as away:
            return str(away)
        return "; ".join([f"{lag:,} requests are not decided yet", *self._reasons(lane)])

    def lag(self, lane: LaneStatus) -> int:
        """Undecided requests in the topic. Raises BrokerAway."""
        return self._lag(lane.positions)

    def describe(self) -> str:
        """The status line: stock, outcomes, rate, lag, consumers; or what cannot be reached."""
        try:
            lane = read_lane(self.client, self.lane)
        except RedisAway as away:
            return f"[status] {away} | consumers {self.alive}"
        lag = self._lag_if_known(lane.positions)
        rate = self._rate(lane.decided)
        return status_line(lane, rate=rate, lag=lag, blocked=self._blocked, consumers=self.alive)
