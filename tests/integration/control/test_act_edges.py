"""Acts at their edges: the most units that there can be, the last attempt; and one more."""

from typing import Any

import pytest
import redis

from seckill.control.control import Control, Refused, VersionMoved
from seckill.control.journal import ATTEMPTS
from seckill.lane.client import no_retry
from seckill.lane.keys import Lane
from seckill.models import StockChange
from tests.helpers.sale import everything, load_scripts, only_reads
from tests.helpers.shop import Shop

LANE = Lane()
# As many as Lua counts exactly, also as a sum over a thousand items.
MOST_UNITS = 10**15


@pytest.mark.parametrize("act", ["add_stock", "set_stock"])
def test_as_many_units_as_lua_counts_exactly_and_not_one_more(shop: Shop, act: str) -> None:
    """Of which all but 3 are sold by now."""
    shop.control.set_stock(1, {1001: 3})
    shop.client.hset(LANE.activity(1).loaded, "1001", MOST_UNITS - 1)
    left = 1 if act == "add_stock" else 4
    before = everything(shop.client)
    with pytest.raises(Refused, match="too high"):
        getattr(shop.control, act)(1, {1001: left + 1})
    assert everything(shop.client) == before
    getattr(shop.control, act)(1, {1001: left})
    assert shop.item() == (4, MOST_UNITS)


def test_a_long_note_and_a_long_name_are_cut(shop: Shop) -> None:
    """As long as their columns, so that the act is done all the same."""
    control = Control(shop.client, "o" * 200, LANE, note="n" * 600)
    act = control.set_stock(1, {1001: 3})
    row = StockChange.objects.get(pk=act.journal_id)
    assert (row.actor, row.note) == ("o" * 150, "n" * 500)


class Overtaken(redis.Redis):
    """Somebody else's script comes just before its own ones, so many times."""

    times = 0

    def evalsha(self, *args: Any, **options: Any) -> Any:
        if self.times and not only_reads(args):
            self.times -= 1
            super().hincrby(LANE.activity(1).state, "version", 1)
        return super().evalsha(*args, **options)


@pytest.mark.parametrize("times", [ATTEMPTS - 1, ATTEMPTS])
def test_an_act_that_is_overtaken_again_and_again(shop: Shop, times: int) -> None:
    """It is begun anew, so often and not once more; and it is never said to be done for nothing."""
    seen = shop.control.set_stock(1, {1001: 3}).version
    load_scripts(shop.client)
    client = Overtaken.from_url(shop.redis_url, retry=no_retry())
    client.times = times
    control = Control(client, "peter", LANE)
    if times < ATTEMPTS:
        assert control.pause(1).version == seen + times + 1
    else:
        with pytest.raises(VersionMoved) as moved:
            control.pause(1)
        assert (moved.value.expected, moved.value.found) == (seen + times - 1, seen + times)
    client.close()
    done = times < ATTEMPTS
    row = StockChange.objects.latest("id")
    assert (row.act, row.state) == ("pause", "applied" if done else "failed")
    assert shop.status().paused is done
