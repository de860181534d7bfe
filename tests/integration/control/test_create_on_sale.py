"""An activity that is created with stock: one act, one row of the journal, all of it or nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from seckill.control.control import Act, Control, Once, RedisAway, Refused
from seckill.lane.client import no_retry
from seckill.lane.fence import fence, lift, new_token
from seckill.models import Activity, Item, StockChange
from tests.helpers.sale import body, everything, load_scripts
from tests.helpers.servers import free_port
from tests.helpers.shop import LANE, Shop
from tests.helpers.storing import Lossy

STOCK = {1001: 5, 1002: 3}


def create(control: Control, **more: Any) -> Act:
    """A sale with a name, a limit and stock."""
    return control.create(stock=STOCK, name="Night", user_limit=2, **more)


def tables() -> tuple[Any, ...]:
    """The activities and items."""
    return list(Activity.objects.values()), list(Item.objects.values())


def is_on_sale(shop: Shop) -> None:
    """All of it was done, and the audit agrees."""
    assert (Activity.objects.get().name, Activity.objects.get().user_limit) == ("Night", 2)
    assert dict(Item.objects.values_list("item_id", "allocation")) == STOCK
    status = shop.status()
    assert {n: item.left for n, item in status.items.items()} == STOCK
    assert status.user_limit == 2
    shop.clean()


def test_it_is_on_sale_at_once_and_the_journal_has_one_row(shop: Shop) -> None:
    act = create(shop.control)
    is_on_sale(shop)
    row = StockChange.objects.get()
    assert (row.act, row.state, row.version) == ("create_activity", "applied", act.version)
    assert row.new == {"name": "Night", "user_limit": 2, "1001": 5, "1002": 3}
    assert row.old == {}
    assert shop.status().version == act.version > 0
    assert shop.buy(body(1, {1001: 2}), body(1, {1002: 1})) == {"ACCEPTED": 1, "LIMIT": 1}
    shop.store()
    shop.clean()


def test_its_window_holds_from_the_first_request(shop: Shop) -> None:
    opens = timezone.now() + timedelta(hours=1)
    shop.control.create(7, STOCK, opens_at=opens)
    assert shop.buy(body(1, activity_id=7)) == {"NOT_OPEN": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"stock": {1001: -1}},
        {"stock": STOCK, "user_limit": 0},
        {"stock": STOCK, "opens_at": timezone.now(), "closes_at": timezone.now() - timedelta(1)},
        {"stock": STOCK, "activity_id": 3},
    ],
)
def test_what_is_refused_leaves_nothing(shop: Shop, wrong: Any) -> None:
    shop.control.set_stock(3, {9: 1})
    before = everything(shop.client), tables()
    with pytest.raises(Refused):
        shop.control.create(**wrong)
    assert (everything(shop.client), tables()) == before
    states = list(StockChange.objects.order_by("pk").values_list("state", flat=True))
    assert states[0] == "applied"
    assert set(states[1:]) <= {"failed"}


def test_a_fenced_lane_leaves_nothing(shop: Shop) -> None:
    shop.control.set_stock(9, {1: 1})
    token = new_token()
    fence(shop.client, LANE, "REWOUND", "a test", token=token)
    before = everything(shop.client), tables()
    with pytest.raises(Refused):
        create(shop.control)
    assert (everything(shop.client), tables()) == before
    lift(shop.client, LANE, token)
    assert create(shop.control).activity_id == 10


def test_a_redis_that_is_away_leaves_nothing_and_a_repeat_does_it(shop: Shop) -> None:
    gone = Lossy.from_url(f"redis://127.0.0.1:{free_port()}/0", retry=no_retry())
    once = Once("k-1", "same")
    with pytest.raises(RedisAway):
        create(Control(gone, "olga", LANE, once=once))
    gone.close()
    assert tables() == ([], [])
    assert not create(Control(shop.client, "olga", LANE, once=once)).repeated
    is_on_sale(shop)
    assert StockChange.objects.count() == 1


class TestALostAnswer:
    """The script has run, and nobody was told."""

    @pytest.fixture
    def lost(self, shop: Shop) -> Once:
        """A call whose set_stock is done in Redis."""
        once = Once("k-1", "same")
        load_scripts(shop.client)
        client = LosesSetStock.from_url(shop.redis_url, retry=no_retry())
        with pytest.raises(RedisAway):
            create(Control(client, "olga", LANE, once=once))
        client.close()
        assert StockChange.objects.get().state == "started"
        return once

    def test_a_repeat_gets_it(self, shop: Shop, lost: Once) -> None:
        act = create(Control(shop.client, "olga", LANE, once=lost))
        assert (act.repeated, act.version) == (True, shop.status().version)
        is_on_sale(shop)

    def test_the_next_act_completes_it(self, shop: Shop, lost: Once) -> None:
        shop.control.pause(1)
        shop.control.resume(1)
        is_on_sale(shop)
        assert [row.state for row in StockChange.objects.all()] == ["applied"] * 3


class LosesSetStock(Lossy):
    """Loses the answer of the script that puts the items on sale."""

    def evalsha(self, *args: Any, **options: Any) -> Any:
        if any("1002" in str(part) for part in args):
            self.lose = "EVALSHA"
        return super().evalsha(*args, **options)


def test_what_redis_alone_holds_is_not_taken_over(shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 1})
    Item.objects.all().delete()
    Activity.objects.all().delete()
    StockChange.objects.all().delete()
    before = everything(shop.client)
    with pytest.raises(Refused):
        shop.control.create(1, STOCK)
    assert (everything(shop.client), tables()) == (before, ([], []))
