"""Why sales and returns leave records in one list: no resale is stored before its return.

With two lists PostgreSQL could know the resale and not the return. After a loss of Redis the first
hold would come alive, and one unit would be owed to two buyers.
"""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.audit.checks import NEVER_OVERSOLD
from seckill.log_worker.worker import LogWorker
from seckill.models import Activity, Item
from seckill.process.shutdown import Shutdown
from seckill.recovery.rebuild import recover
from tests.helpers.recovering import LANE, LostShop
from tests.helpers.sale import SOURCE, body, waiting
from tests.helpers.settling import cancelled, settle
from tests.helpers.wrong_scripts import change


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[LostShop]:
    """One unit."""
    shop = LostShop(redis_client, stack.redis_url, pg_dsn)
    Activity.objects.create(id=1, hold_s=600)
    shop.control.set_stock(1, {1001: 1})
    yield shop
    shop.engine.close()
    shop.storage.close()


def sell_twice(shop: LostShop) -> None:
    """The unit is held, given back, and held by the next buyer."""
    assert shop.buy(0, body(1)).outcomes == b"0"
    assert settle(shop.client, cancelled(0, 1)) == ["RELEASED"]
    assert shop.buy(1, body(2)).outcomes == b"0"


@pytest.mark.parametrize("stored", range(4))
def test_whatever_is_stored_the_unit_has_one_owner(shop: LostShop, stored: int) -> None:
    sell_twice(shop)
    assert [r["status"] for r in waiting(shop.client)] == ["success", "cancelled", "success"]
    worker = LogWorker(shop.client, shop.storage, Shutdown(), batch_size=1)
    for _ in range(stored):
        worker.run_once()
    shop.client.flushall()
    shop.recover()
    assert shop.left() == {1001: 0 if stored in (1, 3) else 1}


def test_with_two_lists_it_has_two(shop: LostShop, monkeypatch: pytest.MonkeyPatch) -> None:
    change(
        monkeypatch,
        "settle_batch",
        "in_chunks('LPUSH', list_key, records)",
        "in_chunks('LPUSH', list_key .. ':settled', records)",
    )
    sell_twice(shop)
    assert [r["status"] for r in waiting(shop.client)] == ["success", "success"]
    shop.store()
    shop.client.flushall()
    done = recover(shop.client, LANE, SOURCE, [0], "test", shop.said.append)
    assert not done.lifted
    assert NEVER_OVERSOLD in {finding.invariant for finding in done.report.findings}
    item = Item.objects.get()
    assert (item.allocation, item.sold) == (1, 2)
