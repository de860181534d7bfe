"""Request bodies and responses of the control API, as its documentation shows them.

Owns names, types and examples of the fields, and how a response is made from the state in Redis.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seckill.control.control import Act
from seckill.formats.outcomes import Outcome
from seckill.lane.status import ActivityStatus, Histogram, Holds, LaneStatus
from seckill.web.api.strict import Id, Stock

ACTIVITY_DOC = "The activity; 1 if neither body nor query names one."


class ActivityBody(BaseModel):
    """An optional body that may name the activity."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    activity_id: Id | None = Field(None, description=ACTIVITY_DOC)


class SetStockBody(BaseModel):
    """Units left, by item."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"value": {"1001": 10, "1002": 5}}]}
    )
    value: Stock = Field(
        description="Units that are left from now on, by item: ids 1 to 2^63-1, units 0 to 10^12."
    )
    activity_id: Id | None = Field(None, description=ACTIVITY_DOC)


class ActOut(BaseModel):
    """What was done."""

    act: str = Field(description="The act, as the journal names it.", examples=["set_stock"])
    activity_id: int = Field(examples=[1])
    version: int = Field(description="The sale's version after the act.", examples=[4])
    old: dict[str, Any] = Field(description="Before the act.", examples=[{"1001": 3}])
    new: dict[str, Any] = Field(description="After the act.", examples=[{"1001": 10}])
    journal_id: int = Field(description="The row of the journal.", examples=[17])

    @classmethod
    def of(cls, act: Act) -> "ActOut":
        """The response for an act."""
        return cls(
            act=act.act,
            activity_id=act.activity_id,
            version=act.version,
            old=act.old,
            new=act.new,
            journal_id=act.journal_id,
        )


class LatencyOut(BaseModel):
    """Time from the buyer's request to its decision, in ms; null if there is none yet."""

    count: int = Field(examples=[4200])
    p50: float | None = Field(examples=[12.0])
    p95: float | None = Field(examples=[46.0])
    p99: float | None = Field(examples=[92.0])

    @classmethod
    def of(cls, latency: Histogram) -> "LatencyOut":
        """The percentiles of a histogram."""
        p50, p95, p99 = (latency.percentile(share) for share in (0.5, 0.95, 0.99))
        return cls(count=latency.count, p50=p50, p95=p95, p99=p99)


class ActivityOut(BaseModel):
    """One activity in Redis. Counters start at the last `set_stock`, except those named `_ever`."""

    activity_id: int = Field(examples=[1])
    loaded: bool = Field(
        description="Whether Redis has it; if not, all other fields are empty.", examples=[True]
    )
    over: bool = Field(description="Whether the sale is over.")
    why: str | None = Field(
        description="`finished` or `sold_out` if the sale is over.", examples=[None]
    )
    paused: bool = Field(description="Paused by an operator: every request is NOT_OPEN.")
    version: int = Field(description="Grows with each act.", examples=[4])
    opens_at: datetime | None = Field(examples=[None])
    closes_at: datetime | None = Field(examples=[None])
    user_limit: int | None = Field(description="Units a user may buy.", examples=[2])
    timeout_ms: int | None = Field(description="Age at which requests expire.", examples=[None])
    hold_s: int | None = Field(
        description="Seconds until an accepted request must be paid; null: sold at once.",
        examples=[None],
    )
    holds: dict[str, int] = Field(
        description="Holds that are not settled (`held`), and what became of all others: `paid`, "
        "`expired`, `cancelled`, `units_paid`, `units_returned`; and `too_late` payments.",
        examples=[asdict(Holds(held=3, paid=2, units_paid=4))],
    )
    stock: dict[str, int] = Field(description="Units left by item.", examples=[{"1001": 3}])
    put_on_sale: dict[str, int] = Field(
        description="Units ever put on sale by item: left + sold.", examples=[{"1001": 10}]
    )
    sold: int = Field(description="Units sold.", examples=[7])
    records: int = Field(description="Order lines created.", examples=[5])
    total: int = Field(description="Requests decided: success + timeout + fail.", examples=[4200])
    success: int = Field(description="Requests accepted.", examples=[5])
    timeout: int = Field(description="Requests that had expired.", examples=[0])
    fail: int = Field(description="Requests refused for another reason.", examples=[4195])
    outcomes: dict[str, int] = Field(
        description="Requests by outcome.", examples=[{"ACCEPTED": 5, "SOLD_OUT": 4195}]
    )
    outcomes_ever: dict[str, int] = Field(
        description="The same since the activity was first loaded.",
        examples=[{"ACCEPTED": 5, "SOLD_OUT": 4195}],
    )
    expired_with_stock: int = Field(description="Expired while units were left: lost sales.")
    latency_ms: LatencyOut

    @staticmethod
    def values(activity_id: int, status: ActivityStatus | None) -> dict[str, Any]:
        """The fields of a response; empty for an activity that is not loaded."""
        s = status or _nothing(activity_id)
        return {
            "activity_id": activity_id,
            "loaded": status is not None,
            "over": s.over is not None,
            "why": s.over,
            "paused": s.paused,
            "version": s.version,
            "opens_at": moment(s.opens_at_ms),
            "closes_at": moment(s.closes_at_ms),
            "user_limit": s.user_limit,
            "timeout_ms": s.timeout_ms,
            "hold_s": s.hold_s,
            "holds": asdict(s.holds),
            "stock": {str(item): status.left for item, status in s.items.items()},
            "put_on_sale": {str(item): status.loaded for item, status in s.items.items()},
            "sold": s.units_sold,
            "records": s.records,
            "total": s.total,
            "success": s.success,
            "timeout": s.timeouts,
            "fail": s.failures,
            "outcomes": {outcome.name: count for outcome, count in s.outcomes.items()},
            "outcomes_ever": {outcome.name: n for outcome, n in s.total_outcomes.items()},
            "expired_with_stock": s.expired_with_stock,
            "latency_ms": LatencyOut.of(s.latency),
        }


class FenceOut(BaseModel):
    """Why nothing is decided in the lane."""

    word: str = Field(examples=["REWOUND"])
    at: datetime | None
    why: str


class LaneOut(BaseModel):
    """What belongs to no activity."""

    loaded: bool = Field(
        description="Whether anything is loaded. If not, nothing is decided.", examples=[True]
    )
    waiting: int = Field(description="Records not yet in PostgreSQL.", examples=[0])
    dead: int = Field(description="Parked records that could not be stored.", examples=[0])
    invalid: int = Field(description="Messages that were not requests.", examples=[0])
    no_such_activity: int = Field(description="Requests for an unknown activity.", examples=[0])
    skipped: int = Field(description="Offsets without a request.", examples=[0])
    decided: int = Field(description="All outcomes since the start.", examples=[4200])
    positions: dict[str, int] = Field(
        description="Next offset to decide, by source:partition.",
        examples=[{"0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111:0": 4200}],
    )
    recovered: int = Field(description="Offsets whose outcome was lost with Redis.", examples=[0])
    generation: int = Field(description="How often it was rebuilt after a loss.", examples=[0])
    fence: FenceOut | None = Field(
        description="While the lane is fenced nothing is decided.", examples=[None]
    )

    @classmethod
    def of(cls, lane: LaneStatus) -> "LaneOut":
        """The response for a lane."""
        fence = lane.fence
        return cls(
            fence=FenceOut(word=fence.word, at=moment(fence.at_ms), why=fence.why)
            if fence
            else None,
            **{name: getattr(lane, name) for name in cls.model_fields if name != "fence"},
        )


class StatusOut(ActivityOut):
    """One activity and its lane; without `activity_id` all activities too."""

    lane: LaneOut
    activities: dict[str, ActivityOut] | None = Field(
        description="All loaded activities by id, if no `activity_id` was given; else null."
    )

    @classmethod
    def of(cls, lane: LaneStatus, activity_id: int, *, with_all: bool) -> "StatusOut":
        """The response for this activity."""
        everything = {
            str(number): ActivityOut(**ActivityOut.values(number, status))
            for number, status in lane.activities.items()
        }
        return cls(
            **ActivityOut.values(activity_id, lane.activities.get(activity_id)),
            lane=LaneOut.of(lane),
            activities=everything if with_all else None,
        )


class HealthOut(BaseModel):
    """The process answers. This says nothing about the services behind it."""

    status: str = Field(examples=["alive"])


class ReadyOut(BaseModel):
    """Everything that a sale needs is ready."""

    can_decide: bool = Field(examples=[True])
    can_settle: bool = Field(examples=[True])
    can_store: bool = Field(examples=[True])


def moment(milliseconds: int | None) -> datetime | None:
    """A time in ms since the epoch as a datetime."""
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _nothing(activity_id: int) -> ActivityStatus:
    none: dict[Outcome, int] = {
        outcome: 0
        for outcome in Outcome
        if outcome not in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY)
    }
    return ActivityStatus(
        activity_id=activity_id,
        version=0,
        over=None,
        opens_at_ms=None,
        closes_at_ms=None,
        user_limit=None,
        timeout_ms=None,
        items={},
        outcomes=none,
        total_outcomes=none,
        units_sold=0,
        total_units=0,
        records=0,
        total_records=0,
        expired_with_stock=0,
        total_expired_with_stock=0,
        latency=Histogram({}),
        total_latency=Histogram({}),
    )
