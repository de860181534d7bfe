"""The scripts of acts at their edges: the most units that there can be, and one more."""

import pytest

from seckill.control import Control, Refused
from seckill.keys import Lane
from seckill.models import StockChange
from tests.sale import everything
from tests.shop import Shop

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
    with pytest.raises(Refused, match="too many units"):
        getattr(shop.control, act)(1, {1001: left + 1})
    assert everything(shop.client) == before
    getattr(shop.control, act)(1, {1001: left})
    assert shop.item() == (4, MOST_UNITS)


def test_a_long_note_and_a_long_name_are_cut(shop: Shop) -> None:
    """As long as their columns, so that the act is done all the same."""
    control = Control(shop.client, "o" * 200, note="n" * 600)
    act = control.set_stock(1, {1001: 3})
    row = StockChange.objects.get(pk=act.journal_id)
    assert (row.actor, row.note) == ("o" * 150, "n" * 500)
