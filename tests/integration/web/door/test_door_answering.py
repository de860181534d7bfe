"""What a door reads for those who wait: the answers, and how often it asks Redis for them."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
import redis
import redis.asyncio

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine, Status
from seckill.lane.keys import Lane
from seckill.web.door.answering import read_answers
from seckill.web.door.answers import Answer, State
from seckill.web.door.look import read_look
from seckill.web.door.tickets import Ticket
from tests.helpers.sale import SOURCE, batch, body, put_on_sale

LANE = Lane()
CLICK = "a-click"


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


def decide(engine: Engine, users: Sequence[int], start: int = 0) -> list[Ticket]:
    """One click of each user, decided, and their tickets."""
    values = [body(user, {1001: 1}, request_id=CLICK) for user in users]
    reply = engine.decide([batch(values, start)])[0]
    assert reply.status is Status.DECIDED
    return [Ticket(SOURCE, 0, start + n, 1, user, CLICK) for n, user in enumerate(users)]


def answers(
    stack: Endpoints, client: "redis.Redis", tickets: Sequence[Ticket], activities: Sequence[int]
) -> tuple[list[Answer | None], int]:
    """The answers after a look at these activities, and the calls of scripts that they took."""

    async def ask() -> tuple[list[Answer | None], int]:
        reader = redis.asyncio.Redis.from_url(stack.redis_url)
        try:
            look = await read_look(reader, LANE, SOURCE, 1, activities)
            before = calls(client)
            found = await read_answers(reader, LANE, SOURCE, look, tickets, [])
            return found, calls(client) - before
        finally:
            await reader.aclose()

    return asyncio.run(ask())


def calls(client: "redis.Redis") -> int:
    """Scripts that this Redis has run."""
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def states(found: Sequence[Answer | None]) -> list[State]:
    return [answer.state for answer in found if answer]


def test_winners_of_a_sale_without_holds_cost_one_call(
    stack: Endpoints, redis_client: "redis.Redis", engine: Engine
) -> None:
    put_on_sale(redis_client, {1001: 2})
    tickets = decide(engine, [1, 2, 3])
    found, asked = answers(stack, redis_client, tickets, [1])
    assert states(found) == [State.ACCEPTED, State.ACCEPTED, State.REFUSED]
    assert asked == 1


def test_a_hold_is_read_with_its_end(
    stack: Endpoints, redis_client: "redis.Redis", engine: Engine
) -> None:
    put_on_sale(redis_client, {1001: 2}, hold_s=600)
    tickets = decide(engine, [1])
    # And where the activity was not looked at, as for a ticket that is asked for days later.
    for activities in ([1], []):
        found, asked = answers(stack, redis_client, tickets, activities)
        assert states(found) == [State.HELD]
        assert found[0] is not None
        assert found[0].pay_until > 0
        assert asked == 2


def test_a_twin_is_told_where_its_click_was_accepted(
    stack: Endpoints, redis_client: "redis.Redis", engine: Engine
) -> None:
    put_on_sale(redis_client, {1001: 1})
    first = decide(engine, [1])[0]
    twin = decide(engine, [1], start=1)[0]
    found, _ = answers(stack, redis_client, [twin], [1])
    assert found[0] is not None
    assert found[0].state is State.ACCEPTED
    assert found[0].place is not None
    assert (found[0].place.partition, found[0].place.offset) == (0, first.offset)
