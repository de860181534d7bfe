"""One lane of the demo sale: its activity, and how far it is."""

from dataclasses import dataclass

import redis

from demo.figures import Plan
from demo.lanes import share
from seckill.audit.audit import Report
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.errors import ServiceAway
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import ActivityStatus, LaneStatus, read_lane
from seckill.models import Activity

ACTOR = "run_sale"


@dataclass(frozen=True)
class Look:
    """A lane at one reading: Redis, the topic's end, and up to where it is decided."""

    status: LaneStatus
    end: int
    decided_to: int


@dataclass
class Part:
    """Lane `number`, from 0, of a sale."""

    number: int
    lane: Lane
    server: Server
    client: "redis.Redis"
    topics: Topics
    plan: Plan

    audit: Report | None = None
    before: LaneStatus | None = None
    sent_before: int = 0
    _source: str = ""

    @property
    def activity_id(self) -> int:
        """Its activity."""
        return self.plan.activity_id + self.number

    @property
    def stock(self) -> dict[int, int]:
        """Its units."""
        lanes = self.plan.lanes
        return {item: share(units, lanes, self.number) for item, units in self.plan.stock.items()}

    def open(self) -> None:
        """Topic and stock."""
        self.topics.ensure(self.server.topic)
        self._source = str(self.topics.source(self.server.topic))
        Activity.objects.get_or_create(pk=self.activity_id, defaults={"lane": self.lane.name})
        self.control().set_stock(self.activity_id, self.stock)

    def put_on_sale(self) -> str:
        """The stock of this sale, when what an earlier one has left is decided; what it is now."""
        if self.activity(read_lane(self.client, self.lane)).hold_s:
            # Of the guests of an earlier run. Nobody pays for the load.
            self.control().configure_fields(self.activity_id, hold_s=None)
        act = self.control().set_stock(self.activity_id, self.stock)
        return f"on sale, activity {self.activity_id}: {act.new}"

    def control(self, note: str = "") -> Control:
        """Acts in this lane."""
        return Control(self.client, ACTOR, self.lane, note=note)

    def begin(self) -> None:
        """Remember how far it is: figures count from here."""
        self.before = read_lane(self.client, self.lane)
        self.sent_before = sum(self.topics.end_offsets(self.server.topic).values())

    def activity(self, status: LaneStatus) -> ActivityStatus:
        """Its activity in a reading."""
        return status.activities[self.activity_id]

    def decided(self, status: LaneStatus) -> int:
        """Requests decided since `begin`."""
        assert self.before is not None
        return status.decided - self.before.decided

    def look(self) -> Look:
        """How far it is now. Raises ServiceAway."""
        status = read_lane(self.client, self.lane)
        ends = self.topics.end_offsets(self.server.topic)
        decided_to = sum(
            status.positions.get(position_field(self._source, partition), 0) for partition in ends
        )
        return Look(status, sum(ends.values()), decided_to)

    def members(self) -> frozenset[str]:
        """The members of its consumers' group."""
        try:
            return self.topics.group_members(self.server.group_id)
        except ServiceAway:
            # A new Kafka has no group coordinator yet, so there are no members.
            return frozenset()
