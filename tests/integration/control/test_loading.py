"""Two who load or limit a sale at once, or one who comes late: no buyer counts twice."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.db import transaction

from seckill.control.act_script import Turn
from seckill.control.loading import Loader
from seckill.errors import RedisAway, VersionMoved
from seckill.lane.client import no_retry
from seckill.models import Activity
from tests.helpers.sale import body, buyers_of, load_scripts, only_reads
from tests.helpers.shop import LANE, Shop

Hook = Callable[[], None]


class Interrupted(redis.Redis):
    """After its script number `after` that writes, somebody else acts, and then it goes on."""

    after = 1
    scripts = 0
    meanwhile: Hook

    def evalsha(self, *args: Any, **options: Any) -> Any:
        answer = super().evalsha(*args, **options)
        self.scripts += not only_reads(args)
        if self.scripts == self.after and not only_reads(args):
            self.meanwhile()
        return answer


@pytest.fixture
def sold(shop: Shop) -> Shop:
    """Users 1 and 2 have bought: one unit in PostgreSQL, two units in the list."""
    shop.control.set_stock(1, {1001: 20})
    shop.buy(body(1))
    shop.store()
    shop.buy(body(2, {1001: 2}))
    load_scripts(shop.client)
    return shop


def interrupted(shop: Shop, after: int, meanwhile: Hook) -> Interrupted:
    """A client that is interrupted once."""
    client = Interrupted.from_url(shop.redis_url, retry=no_retry())
    client.after, client.meanwhile = after, meanwhile
    return client


def limit(client: "redis.Redis", units: int, version: int) -> None:
    """Set a limit without the turn: as one whose connection to PostgreSQL is lost goes on."""
    with transaction.atomic():
        Loader(client, LANE).write_state(Turn(1, "olga", version), {"user_limit": units})


@pytest.mark.parametrize("after", [1, 2])
def test_a_first_limit_by_two(sold: Shop, after: int) -> None:
    def other() -> None:
        limit(sold.client, 3, sold.status().version)
        sold.buy(body(3))

    client = interrupted(sold, after, other)
    with pytest.raises(VersionMoved):
        limit(client, 2, sold.status().version)
    client.close()
    assert sold.status().user_limit == 3
    assert buyers_of(sold.client) == {1: 1, 2: 2, 3: 1}
    sold.clean()


@pytest.mark.parametrize("after", [1, 2])
def test_a_load_by_two(sold: Shop, after: int) -> None:
    """The activity alone is lost, by hand: the lane goes on."""
    sold.control.create(2)
    sold.control.set_stock(2, {1001: 5})
    Activity.objects.filter(pk=1).update(user_limit=3)
    keys = LANE.activity(1)
    sold.client.srem(LANE.activities, "1")
    sold.client.delete(keys.state, keys.stock, keys.loaded)

    def load(client: "redis.Redis") -> None:
        with transaction.atomic():
            Loader(client, LANE).sync(Turn(1, "olga", 0))

    def other() -> None:
        load(sold.client)
        sold.buy(body(3))

    client = interrupted(sold, after, other)
    with pytest.raises(VersionMoved):
        load(client)
    client.close()
    assert buyers_of(sold.client) == {1: 1, 2: 2, 3: 1}


@pytest.mark.parametrize("lost", range(1, 4))
def test_a_first_limit_that_is_cut_off_and_set_again(sold: Shop, lost: int) -> None:
    def cut() -> None:
        raise redis.TimeoutError("no answer in time")

    client = interrupted(sold, lost, cut)
    with pytest.raises(RedisAway):
        limit(client, 3, sold.status().version)
    client.close()
    sold.buy(body(1))
    assert sold.buy(body(4)) == {"ACCEPTED": 1}
    sold.control.configure_fields(1, user_limit=3)
    assert buyers_of(sold.client) == {1: 2, 2: 2, 4: 1}
    assert sold.buy(body(2, {1001: 2}), body(1)) == {"LIMIT": 1, "ACCEPTED": 1}
    sold.clean()
