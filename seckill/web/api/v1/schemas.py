"""Bodies, parameters and responses of the versioned routes, as their documentation shows them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from seckill.audit.verdict import LastAudit
from seckill.control.checks import FIELDS, MAX_HOLD_S, MAX_NAME, MAX_TIMEOUT_MS
from seckill.control.whole_sale import WholeSale
from seckill.formats.lanes import LANE_NAME, MAIN
from seckill.formats.outcomes import MAX_ID, MAX_REQUEST_ID, MAX_UNITS
from seckill.lane.status import ActivityStatus
from seckill.models import Activity, Item, Move, StockChange
from seckill.monitoring.look import Look
from seckill.monitoring.verdict import State, Verdict
from seckill.monitoring.verdict_text import in_words
from seckill.telemetry.heartbeats import Worker
from seckill.telemetry.history import Sample
from seckill.web.api.schemas import ActivityOut, LaneOut, moment
from seckill.web.api.strict import (
    NO_NUL,
    Id,
    MoreStock,
    OptionalTextId,
    Stock,
    documented,
    up_to,
    whole,
    whole_text,
)

# Versions in JSON stay exact in every language.
MAX_VERSION = 2**53 - 1
MAX_PAGE, DEFAULT_PAGE = 500, 50
# Lanes of one sale: the number of its parts is small.
MAX_LANES = 1_000

Version = Annotated[
    int,
    Field(strict=True, ge=0, le=MAX_VERSION),
    BeforeValidator(whole),
    documented(0, MAX_VERSION),
]
Note = Annotated[str, Field(max_length=500, pattern=NO_NUL)]
Name = Annotated[str, Field(max_length=MAX_NAME, pattern=NO_NUL)]
HoldS = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_HOLD_S),
    BeforeValidator(whole),
    documented(1, MAX_HOLD_S),
]
UserLimit = Annotated[
    int, Field(strict=True, ge=1, le=MAX_UNITS), BeforeValidator(whole), documented(1, MAX_UNITS)
]
TimeoutMs = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_TIMEOUT_MS),
    BeforeValidator(whole),
    documented(1, MAX_TIMEOUT_MS),
]
LaneName = Annotated[str, Field(pattern=rf"^{LANE_NAME}$", examples=[MAIN])]
LaneFilter = Annotated[str, Field(pattern=rf"^{LANE_NAME}$", description="The lane.")]
Limit = Annotated[
    int,
    BeforeValidator(whole_text),
    Field(ge=1, le=MAX_PAGE, description="The most rows in the page."),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "examples": [50]}),
]
Cursor = Annotated[
    OptionalTextId,
    Field(description="`next` of the previous page."),
    WithJsonSchema({"type": "string", "pattern": up_to(MAX_ID), "examples": ["1"]}),
]
ActivityFilter = Annotated[
    OptionalTextId,
    Field(description="Only of this activity; of the head of a split sale, of all its parts."),
]
RequestId = Annotated[
    str | None,
    Field(min_length=1, max_length=MAX_REQUEST_ID, pattern=NO_NUL),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MAX_REQUEST_ID, "pattern": NO_NUL}
    ),
]


class ActBody(BaseModel):
    """The optional body of an act."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    expected_version: Version | None = Field(
        None,
        description="Refuse with 409 if the activity has another version; 0 means not loaded.",
    )
    note: Note = Field("", description="Why, for the journal.")


class SetBody(ActBody):
    """Units left from now on, by item."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"value": {"1001": 10, "1002": 5}}]}
    )
    value: Stock = Field(description="Units left from now on, by item.")


class AddBody(ActBody):
    """Units to add, by item."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"value": {"1001": 10}, "expected_version": 4}]},
    )
    value: MoreStock = Field(description="Units to add, by item.")


class FieldsBody(ActBody):
    """Fields of an activity: only the given ones change, and null removes a value."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user_limit": 2, "expected_version": 4}],
            "anyOf": [{"required": [name]} for name in FIELDS],
        },
    )
    name: Name = Field("")
    opens_at: AwareDatetime | None = Field(None, description="Null: open from the start.")
    closes_at: AwareDatetime | None = Field(None, description="Null: open until it is finished.")
    user_limit: UserLimit | None = Field(None, description="Units a user may buy. Null: no limit.")
    timeout_ms: TimeoutMs | None = Field(
        None, description="Age at which requests expire. Null: the consumers' own setting."
    )
    hold_s: HoldS | None = Field(
        None, description="Seconds until an accepted request must be paid. Null: sold at once."
    )


class CreateBody(BaseModel):
    """A new activity. Without an id it gets the next free one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "Singles' day", "stock": {"1001": 10, "1002": 5}, "user_limit": 2}
            ]
        },
    )
    activity_id: Id | None = Field(None)
    name: Name = Field("")
    stock: Stock | None = Field(None, description="Units on sale from the start, by item.")
    opens_at: AwareDatetime | None = Field(None)
    closes_at: AwareDatetime | None = Field(None)
    user_limit: UserLimit | None = Field(None)
    timeout_ms: TimeoutMs | None = Field(None)
    hold_s: HoldS | None = Field(None)
    lane: LaneName = Field(MAIN, description="Whose Redis and topic it has, for good.")
    note: Note = Field("")


class SplitBody(ActBody):
    """The lanes of a sale, that of the activity among them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"lanes": ["main", "north"]}]}
    )
    lanes: Annotated[list[LaneName], Field(min_length=2, max_length=MAX_LANES)] = Field(
        description="Each gets its share of the units."
    )


class NoteBody(BaseModel):
    """Why, for the journal."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    note: Note = Field("", description="Why, for the journal.")


class MoveOut(BaseModel):
    """Units that went from one part of a sale to another."""

    move: int = Field(examples=[3])
    source: int = Field(description="The activity that gave them.", examples=[1])
    target: int = Field(description="The activity that got them.", examples=[2])
    units: dict[str, int] = Field(description="By item.", examples=[{"1001": 20}])
    state: str = Field(
        description="`given`; `dropped` (nothing was left); else it is on its way.",
        examples=["given"],
    )

    @classmethod
    def of(cls, move: Move) -> "MoveOut":
        """The response for a move."""
        names = [name for name in cls.model_fields if name != "move"]
        return cls(move=move.pk, **{name: getattr(move, name) for name in names})


class BalanceOut(BaseModel):
    """What one round of balancing did."""

    moved: list[MoveOut]
    waits: int = Field(description="What could not be done now: repeat it.", examples=[0])
    over: bool = Field(description="Whether every part has ended.", examples=[False])


class PartOut(BaseModel):
    """A part of a sale over several lanes."""

    activity_id: int = Field(description="What its requests name.", examples=[2])
    lane: str = Field(examples=["north"])
    version: int | None = Field(
        description="0 if it is not loaded; null if its Redis is away.", examples=[4]
    )
    loaded: int | None = Field(description="Units ever put on sale in it.", examples=[50])
    left: int | None = Field(examples=[3])
    sold: int | None = Field(examples=[47])


class SaleOut(BaseModel):
    """A sale over several lanes as a whole: units of all items, of the parts that answer."""

    head: int = Field(description="The activity that acts name.", examples=[1])
    loaded: int = Field(description="Units ever put on sale, and not moved away.", examples=[100])
    left: int = Field(examples=[10])
    sold: int = Field(examples=[90])
    on_the_way: int = Field(
        description="Taken from one part and not yet added to another: `balance` does it.",
        examples=[0],
    )
    parts: list[PartOut]

    @classmethod
    def of(cls, sale: WholeSale) -> "SaleOut":
        """The response for a sale."""
        parts = [
            PartOut(
                activity_id=part.row.pk,
                lane=part.row.lane,
                version=part.version,
                loaded=part.loaded,
                left=part.left,
                sold=part.sold,
            )
            for part in sale.parts
        ]
        return cls(
            head=sale.parts[0].row.pk,
            loaded=sale.loaded,
            left=sale.left,
            sold=sale.sold,
            on_the_way=sale.on_the_way,
            parts=parts,
        )


class ActivityRow(BaseModel):
    """An activity: its row, and its current state in Redis."""

    activity_id: int = Field(examples=[1])
    name: str = Field(examples=["Singles' day"])
    opens_at: datetime | None = Field(examples=[None])
    closes_at: datetime | None = Field(examples=[None])
    user_limit: int | None = Field(examples=[2])
    timeout_ms: int | None = Field(examples=[None])
    hold_s: int | None = Field(examples=[600])
    created_at: datetime
    lane: str = Field(description="Whose Redis and topic it has.", examples=["main"])
    part_of: int | None = Field(
        description="The head of the sale over several lanes that it is a part of, itself if it is "
        "the head; null if it is not split.",
        examples=[None],
    )
    version: int = Field(description="0 if it is not loaded.", examples=[4])
    live: ActivityOut | None = Field(
        description="Its state in Redis, of its own part alone; null if it is not loaded."
    )
    sale: SaleOut | None = Field(
        None, description="The whole sale; null if it is not split, and in lists."
    )

    @classmethod
    def of(
        cls, row: Activity, status: ActivityStatus | None, sale: WholeSale | None = None
    ) -> "ActivityRow":
        """The response for a row."""
        return cls(
            activity_id=row.pk,
            name=row.name,
            opens_at=row.opens_at,
            closes_at=row.closes_at,
            user_limit=row.user_limit,
            timeout_ms=row.timeout_ms,
            hold_s=row.hold_s,
            created_at=row.created_at,
            lane=row.lane,
            part_of=row.part_of,
            version=status.version if status else 0,
            live=ActivityOut(**ActivityOut.values(row.pk, status)) if status else None,
            sale=SaleOut.of(sale) if sale else None,
        )


class ItemOut(BaseModel):
    """An item of an activity: its row, and its current state in Redis."""

    item_id: int = Field(examples=[1001])
    name: str = Field(examples=["Kettle"])
    allocation: int = Field(description="Units ever put on sale, from the database.", examples=[10])
    stored: int = Field(description="Units in stored orders.", examples=[7])
    left: int | None = Field(description="Units left; null if it is not loaded.", examples=[3])
    sold: int | None = Field(description="Units sold, from Redis.", examples=[7])

    @classmethod
    def of(cls, row: Item, status: ActivityStatus | None) -> "ItemOut":
        """The response for a row."""
        live = status.items.get(row.item_id) if status else None
        return cls(
            item_id=row.item_id,
            name=row.name,
            allocation=row.allocation,
            stored=row.sold,
            left=live.left if live else None,
            sold=live.sold if live else None,
        )


class JournalOut(BaseModel):
    """One control act."""

    journal_id: int = Field(examples=[17])
    at: datetime
    actor: str = Field(examples=["key:till"])
    act: str = Field(examples=["add_stock"])
    activity_id: int = Field(examples=[1])
    old: dict[str, Any] | None = Field(examples=[{"1001": 3}])
    new: dict[str, Any] | None = Field(examples=[{"1001": 13}])
    version: int | None = Field(description="After the act.", examples=[5])
    state: str = Field(
        description="`applied`, `failed` (nothing changed), `started` (the result is unknown).",
        examples=["applied"],
    )
    detail: str = Field(examples=[""])
    note: str = Field(examples=[""])

    @classmethod
    def of(cls, row: StockChange) -> "JournalOut":
        """The response for a row."""
        names = [name for name in cls.model_fields if name != "journal_id"]
        return cls(journal_id=row.pk, **{name: getattr(row, name) for name in names})


class Page(BaseModel):
    """A page of a list."""

    next: str | None = Field(
        description="The cursor of the next page; null on the last one.", examples=[None]
    )


class ActivityPage(Page):
    """Activities by id."""

    activities: list[ActivityRow]


class ItemPage(Page):
    """Items by id."""

    items: list[ItemOut]


class JournalPage(Page):
    """Acts, the newest first."""

    journal: list[JournalOut]


class WorkerOut(BaseModel):
    """A consumer or log worker, from its last heartbeat."""

    kind: str = Field(examples=["consumer"])
    id: str = Field(examples=["host:4711"])
    alive: bool = Field(examples=[True])
    started_at: datetime | None
    heartbeat_at: datetime | None
    progress_at: datetime | None = Field(description="When it last made progress.")
    detail: str = Field(description="Why it holds, or what it is doing.", examples=[""])

    @classmethod
    def of(cls, worker: Worker) -> "WorkerOut":
        """The response for a worker."""
        return cls(
            kind=worker.kind.value,
            id=worker.id,
            alive=worker.alive,
            started_at=moment(worker.started_ms),
            heartbeat_at=moment(worker.beat_ms),
            progress_at=moment(worker.progress_ms),
            detail=worker.detail,
        )


class AuditOut(BaseModel):
    """The verdict of the last audit. It was true at that time."""

    clean: bool | None = Field(description="Null: the audit could not run.", examples=[True])
    at: datetime | None
    checks: int = Field(examples=[9])
    finding: str = Field(description="The first violation.", examples=[""])
    by: str = Field(description="Who ran it.", examples=["shell:olga"])

    @classmethod
    def of(cls, audit: LastAudit) -> "AuditOut":
        """The response for a verdict."""
        return cls(
            clean=audit.clean,
            at=moment(audit.at_ms),
            checks=audit.checks,
            finding=audit.finding,
            by=audit.by,
        )


class LagOut(BaseModel):
    """Undecided requests in Kafka, as last measured by the consumers' parent process."""

    requests: int | None = Field(description="Null: not measured recently.", examples=[0])
    blocked: int = Field(
        description="How many of these Kafka hides behind an open transaction.", examples=[0]
    )
    blocked_by: str = Field(description="Whose transaction it is, and since when.", examples=[""])

    @classmethod
    def of(cls, sample: Sample | None) -> "LagOut":
        """From the history's newest sample, if that is fresh."""
        if sample is None or sample.lag is None:
            return cls(requests=None, blocked=0, blocked_by="")
        return cls(
            requests=sum(sample.lag.values()),
            blocked=sum(sample.blocked.values()),
            blocked_by=sample.blocked_by,
        )


class VerdictOut(BaseModel):
    """What the lane does now, as the desk says it: does it sell, and if not, what is wrong."""

    state: str = Field(description="One word for programs.", examples=[State.SELLING.value])
    level: str = Field(
        description="`success`, `info`, `warning` or `danger`.", examples=["success"]
    )
    text: str = Field(
        description="In words, with how long it has held.",
        examples=["Selling for 6 s: 1,493/s, nothing waits"],
    )

    @classmethod
    def of(cls, verdict: Verdict, now_ms: int) -> "VerdictOut":
        """The response for a verdict. `now_ms`: the lane's clock."""
        return cls(state=verdict.state, level=verdict.level, text=in_words(verdict, now_ms))


class StateOut(BaseModel):
    """The whole lane at one moment: all loaded activities, workers, and the last audit."""

    verdict: VerdictOut
    lane: LaneOut
    lag: LagOut
    activities: list[ActivityOut]
    workers: list[WorkerOut]
    audit: AuditOut | None = Field(description="Null: no audit has run yet.")

    @classmethod
    def of(cls, now: Look) -> "StateOut":
        """The answer."""
        return cls(
            verdict=VerdictOut.of(now.verdict, now.now_ms),
            lane=LaneOut.of(now.lane),
            lag=LagOut.of(now.sample),
            activities=[
                ActivityOut(**ActivityOut.values(number, status))
                for number, status in now.lane.activities.items()
            ],
            workers=[WorkerOut.of(worker) for worker in now.workers],
            audit=AuditOut.of(now.audit) if now.audit else None,
        )
