"""Recovery of holds: what is held is held again, what is settled stays settled."""

from collections.abc import Iterator

import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.lane import board
from seckill.lane.holds import SettleOutcome, SettleStatus
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, LatePayment, Settlement
from tests.helpers import settling
from tests.helpers.blocks import holds_of
from tests.helpers.recovering import LANE, LostShop, set_back, snapshot
from tests.helpers.sale import SOURCE, body, buyers_of
from tests.helpers.settling import SETTLE_SOURCE, cancelled, make_due, paid, settle


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[LostShop]:
    """A sale with holds of ten minutes."""
    shop = LostShop(redis_client, stack.redis_url, pg_dsn)
    Activity.objects.create(id=1, hold_s=600, user_limit=3)
    shop.control.set_stock(1, {1001: 10, 1002: 5})
    yield shop
    shop.engine.close()
    shop.storage.close()


def play(shop: LostShop, *, store_at: int = 4) -> None:
    """Seven holds of seven users: one paid, one expired, one given back, one paid too late.

    So much of it is stored in PostgreSQL as `store_at` says, the rest waits in the list.
    """

    def done(step: int) -> None:
        if step == store_at:
            shop.store()

    shop.buy(0, *(body(user) for user in range(1, 7)), body(7, {1001: 1, 1002: 2}))
    done(1)
    assert settle(shop.client, paid(0, 1, reference="pi_1"), cancelled(1, 2)) == [
        "PAID", "RELEASED"
    ]  # fmt: skip
    make_due(shop.client, 2, 3)
    assert settling.expire(shop.client).expired == 2
    done(2)
    assert settle(shop.client, paid(3, 4, reference="pi_4"), None, start=2) == [
        "TOO_LATE", "INVALID"
    ]  # fmt: skip
    done(3)
    assert settle(shop.client, paid(4, 5), start=4) == ["PAID"]
    done(4)


def bytes_of(client: "redis.Redis") -> str:
    """The board of partition 0."""
    return board.read(client, LANE, SOURCE, 0, 0).rstrip(b"\0").decode()


def assert_as_before(shop: LostShop, generation: int) -> None:
    """What is held is held, what is settled is settled."""
    now = read_lane(shop.client, LANE)
    activity = now.activities[1]
    assert bytes_of(shop.client) == "PCXXP00"
    assert (activity.holds.paid, activity.holds.expired, activity.holds.cancelled) == (2, 2, 1)
    assert (activity.holds.too_late, activity.holds.held, activity.hold_s) == (1, 2, 600)
    assert (activity.holds.units_paid, activity.holds.units_returned, activity.total_units) == (
        2,
        3,
        9,
    )
    assert shop.left() == {1001: 6, 1002: 3}
    # What expired counts against its user's limit, what was given back does not.
    assert buyers_of(shop.client) == {1: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 3}
    assert now.settle_positions == {f"{SETTLE_SOURCE}:0": 5}
    assert sum(now.settle_stats.values()) == 5
    assert now.settle_read == {}
    assert activity.epoch >= generation
    held = [(hold.user_id, hold.items) for hold in holds_of(shop.client).values()]
    assert held == [(6, {1001: 1}), (7, {1001: 1, 1002: 2})]


@pytest.mark.parametrize("store_at", [4])
def test_an_emptied_redis(shop: LostShop, store_at: int) -> None:
    play(shop, store_at=store_at)
    assert audit(shop.client, LANE).findings == []
    shop.client.flushall()
    done = shop.recover()
    assert_as_before(shop, done.generation)
    # An INVALID message left no entry, so its outcome is lost; that of the last one is not.
    assert read_lane(shop.client, LANE).settle_stats["recovered"] == 1
    # Who confirms again is told what was before; what is held is paid or expires.
    reply = settling.send(
        shop.client, *(paid(0, 1), cancelled(1, 2), paid(2, 3), paid(6, 7)), start=5,
        generation=done.generation,
    )  # fmt: skip
    assert (reply.status, reply.outcomes) == (SettleStatus.DECIDED, b"99TP")
    # Nothing expires before all settle partitions are read.
    make_due(shop.client)
    assert settling.expire(shop.client, {}, generation=done.generation).expired == 0
    assert settling.expire(shop.client, generation=done.generation).expired == 1
    shop.store()
    assert audit(shop.client, LANE).findings == []
    assert Settlement.objects.count() == 8
    assert {item.item_id: item.returned for item in Item.objects.all()} == {1001: 4, 1002: 0}


@pytest.mark.parametrize("store_at", [0, 1, 2, 3])
def test_settlements_in_rows_and_in_the_list(shop: LostShop, store_at: int) -> None:
    play(shop, store_at=store_at)
    assert audit(shop.client, LANE).findings == []
    listed = shop.client.lrange(LANE.list, 0, -1)
    shop.client.flushall()
    if listed:
        # The list alone is there: as after an eviction of all else.
        shop.client.rpush(LANE.list, *listed)  # type: ignore[misc]
    done = shop.recover()
    assert_as_before(shop, done.generation)
    shop.store()
    assert audit(shop.client, LANE).findings == []
    assert LatePayment.objects.get().reference == "pi_4"


@pytest.mark.parametrize("setting", [False, True])
def test_expired_holds_that_gave_back_count_against_no_limit(shop: LostShop, setting: bool) -> None:
    """Whatever the setting is today."""
    shop.buy(0, *(body(user) for user in range(1, 5)))
    for offset, gives_back in ((1, True), (2, False), (3, True)):
        make_due(shop.client, offset)
        settling.expire(shop.client, expired_gives_back=gives_back)
    shop.store()
    before = buyers_of(shop.client)
    assert before == {1: 1, 3: 1}
    shop.client.flushall()
    shop.recover(expired_gives_back=setting)
    assert buyers_of(shop.client) == before
    assert audit(shop.client, LANE).findings == []


def test_a_hold_that_was_due_gets_a_moment(shop: LostShop) -> None:
    shop.buy(0, body(1), body(2))
    shop.store()
    long_ago = settling.redis_ms(shop.client) - 10_000_000

    with connection.cursor() as cursor:
        cursor.execute(
            'UPDATE seckill_record SET due = to_timestamp(%s / 1000.0) WHERE "offset" = 0',
            [long_ago],
        )
    shop.client.flushall()
    before = settling.redis_ms(shop.client)
    shop.recover()
    first, second = (hold.due_ms for hold in holds_of(shop.client).values())
    assert before + 1_000 <= first < second


def test_an_older_redis_while_postgres_is_ahead(shop: LostShop) -> None:
    shop.buy(0, *(body(user) for user in range(1, 7)), body(7, {1001: 1, 1002: 2}))
    copy = snapshot(shop.client)
    settle(shop.client, paid(0, 1), cancelled(1, 2))
    make_due(shop.client, 2, 3)
    settling.expire(shop.client)
    settle(shop.client, paid(3, 4), None, paid(4, 5), start=2)
    shop.store()
    set_back(shop.client, copy)
    # PostgreSQL has settlements that this Redis does not know: it must not sell nor settle again.
    invariants = {finding.culprit for finding in audit(shop.client, LANE).findings}
    assert "activity 1" in invariants
    done = shop.recover()
    assert_as_before(shop, done.generation)
    reply = settling.send(shop.client, cancelled(0, 1), start=5, generation=done.generation)
    assert reply.outcomes == bytes([SettleOutcome.TOO_LATE])


def test_what_was_not_stored_is_settled_again(shop: LostShop) -> None:
    shop.buy(0, body(1), body(2), body(3))
    settle(shop.client, paid(0, 1))
    shop.store()
    # Lost with Redis, as an acknowledgement that was not on disk: Kafka still has the message.
    settle(shop.client, cancelled(1, 2), start=1)
    shop.client.flushall()
    done = shop.recover()
    assert read_lane(shop.client, LANE).settle_positions == {f"{SETTLE_SOURCE}:0": 1}
    assert bytes_of(shop.client) == "P00"
    reply = settling.send(shop.client, cancelled(1, 2), start=1, generation=done.generation)
    assert reply.outcomes == b"C"
    shop.store()
    assert audit(shop.client, LANE).findings == []
