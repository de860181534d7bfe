"""The bulk read of results: what became of requests, by their place in Kafka or by their own id."""

from collections.abc import Sequence
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from seckill.control.control import Refused
from seckill.formats.outcomes import MAX_ID, MAX_REQUEST_ID
from seckill.lane.keys import Lane
from seckill.results.lines import Line
from seckill.results.read import ACCEPTED, Reader, Result, Results
from seckill.web.api.operations import LOOK
from seckill.web.api.problems import Problem
from seckill.web.api.strict import NO_NUL, documented, whole
from seckill.web.api.v1.calls import LOOKS
from seckill.web.shared import services

router = Router(tags=["lookups"])
# Requests in one call.
MOST = 1_000
MAX_PARTITION = 2**31 - 1
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
STATES = (
    "`waiting`: not decided yet, or never sent. `accepted`: an order, see `orders`. `refused`: no "
    "order. `unknown`: no order is known, and no refusal either; `why` says more."
)
SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"

Partition = Annotated[
    int,
    Field(strict=True, ge=0, le=MAX_PARTITION),
    BeforeValidator(whole),
    documented(0, MAX_PARTITION),
]
Offset = Annotated[
    int, Field(strict=True, ge=0, le=MAX_ID), BeforeValidator(whole), documented(0, MAX_ID)
]
OwnId = Annotated[str, Field(min_length=1, max_length=MAX_REQUEST_ID, pattern=NO_NUL)]


class MessageIn(BaseModel):
    """A request by its place in Kafka, as the producer was told it."""

    model_config = ConfigDict(extra="forbid")
    partition: Partition = Field(examples=[0])
    offset: Offset = Field(examples=[1234])


class ResultsBody(BaseModel):
    """At most 1,000 requests, messages and request ids together."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"messages": [{"partition": 0, "offset": 1234}], "request_ids": ["order-7"]}
            ]
        },
    )
    messages: list[MessageIn] = Field([], max_length=MOST)
    request_ids: list[OwnId] = Field([], max_length=MOST)
    source: str | None = Field(
        None,
        pattern=UUID,
        description="Kafka's id of the topic. Needed only if the lane has had several topics.",
    )


class LineOut(BaseModel):
    """One accepted item of a request."""

    item_id: int = Field(examples=[1001])
    quantity: int = Field(examples=[2])
    activity_id: int = Field(examples=[1])
    user_id: int = Field(examples=[564])
    state: str = Field(
        description="`stored`: a row. `waiting`: in Redis, soon a row. `parked`: a dead record.",
        examples=["stored"],
    )
    order_id: int | None = Field(
        description="For `GET /v1/orders/{order_id}`; null until it is stored.", examples=[1]
    )
    hold: str | None = Field(
        description="`held`, `paid`, `expired`, `cancelled`: null if it was sold at once.",
        examples=[None],
    )
    source: str = Field(examples=[SOURCE])
    partition: int = Field(examples=[0])
    offset: int = Field(examples=[1234])
    request_id: str | None = Field(examples=["order-7"])

    @classmethod
    def of(cls, line: Line) -> "LineOut":
        """The response for a line."""
        names = [name for name in cls.model_fields if name != "state"]
        return cls(state=line.where, **{name: getattr(line, name) for name in names})


class _ResultOut(BaseModel):
    state: str = Field(description=STATES, examples=["accepted"])
    outcome: str | None = Field(
        description="The outcome, where it is known: ACCEPTED, SOLD_OUT ...", examples=["ACCEPTED"]
    )
    why: str = Field(description="More about it, for people.", examples=[""])
    orders: list[LineOut] = Field(
        description="With `accepted`: its lines. Empty only while too many records wait in Redis."
    )


class MessageResult(_ResultOut):
    """What became of the request at one place."""

    partition: int = Field(examples=[0])
    offset: int = Field(examples=[1234])


class RequestResult(_ResultOut):
    """What became of the requests with one id. Only orders keep it, so it is never `refused`."""

    request_id: str = Field(examples=["order-7"])


class ResultsOut(BaseModel):
    """The answers, in the order of the questions."""

    source: str | None = Field(
        description="The topic that the messages are of; null: none is known yet.",
        examples=[SOURCE],
    )
    messages: list[MessageResult]
    request_ids: list[RequestResult]


@router.post(
    "/results",
    auth=LOOK,
    response={200: ResultsOut, (LOOKS - {404}) | {413}: Problem},
    summary="What became of requests",
)
def read_results(request: HttpRequest, body: ResultsBody) -> ResultsOut:
    """For programs that produce to Kafka themselves. Changes nothing, so a repeat is safe.

    An answer is final unless it is `waiting`, or `unknown` for a request id. Who has an order is
    never told otherwise: what PostgreSQL has comes before what Redis says.
    """
    if len(body.messages) + len(body.request_ids) > MOST:
        raise Refused(f"at most {MOST} messages and request ids together", "messages")
    readers = [Reader(services.redis_client(name), Lane.named(name)) for name in settings.LANES]
    source, sources = body.source, sorted({s for reader in readers for s in reader.sources})
    if source is None and body.messages:
        if len(sources) > 1:
            raise Refused(f"name one of: {', '.join(sources)}", "source")
        source = next(iter(sources), None)
    # A source is one lane's.
    reader = next((reader for reader in readers if source in reader.sources), readers[0])
    # Before the first decision nobody knows the topic, and no place of it has a result.
    known = source or "00000000-0000-0000-0000-000000000000"
    places = [(known, message.partition, message.offset) for message in body.messages]
    looks = [each.read(places if each is reader else [], body.request_ids) for each in readers]
    results = looks[readers.index(reader)]
    return ResultsOut(
        source=source,
        messages=[
            MessageResult(partition=asked.partition, offset=asked.offset, **_values(result))
            for asked, result in zip(body.messages, results.places, strict=True)
        ],
        request_ids=[
            RequestResult(request_id=asked, **_values(result))
            for asked, result in zip(body.request_ids, _of_all(looks), strict=True)
        ],
    )


def _of_all(looks: Sequence[Results]) -> list[Result]:
    """What became of the requests with ids: such a one may wait in the list of any lane."""
    return [
        next((result for result in found if result.state == ACCEPTED), found[0])
        for found in zip(*(look.requests for look in looks), strict=True)
    ]


def _values(result: Result) -> dict[str, Any]:
    return {
        "state": result.state,
        "outcome": result.outcome.name if result.outcome else None,
        "why": result.why,
        "orders": [LineOut.of(line) for line in result.orders],
    }
