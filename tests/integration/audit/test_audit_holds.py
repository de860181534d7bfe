"""The audit of holds: clean beside settlers, red for each tampering with what became of them."""

from collections.abc import Callable, Iterator

import msgspec
import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.audit.checks import NEVER_DROPPED, NEVER_LOST, NEVER_OVERSOLD, NEVER_TWICE
from seckill.lane.keys import Lane, position_field
from seckill.models import Activity
from tests.helpers import holds, settling
from tests.helpers.blocks import remove
from tests.helpers.recovering import LostShop
from tests.helpers.sale import SOURCE, body
from tests.helpers.settling import SETTLE_SOURCE, cancelled, make_due, paid, settle

LANE = Lane()
KEYS = LANE.activity(1)


@pytest.fixture
def sale(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator["redis.Redis"]:
    """Six holds: one paid, one given back and one expired in rows; one expired, paid too late, and
    two held in the list.
    """
    shop = LostShop(redis_client, stack.redis_url, pg_dsn)
    Activity.objects.create(id=1, hold_s=600, user_limit=3)
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, *(body(user) for user in range(1, 5)))
    settle(redis_client, paid(0, 1), cancelled(1, 2))
    make_due(redis_client, 2)
    settling.expire(redis_client)
    shop.store()
    shop.buy(4, *(body(user) for user in range(5, 7)))
    make_due(redis_client, 3)
    settling.expire(redis_client)
    settle(redis_client, paid(3, 4), start=2)
    report = audit(redis_client, LANE)
    assert report.findings == []
    assert (report.units_left, report.units_sold) == (7, 3)
    yield redis_client
    shop.engine.close()
    shop.storage.close()


def push(client: "redis.Redis", entry: object) -> None:
    client.lpush(LANE.list, msgspec.json.encode(entry))


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def nobody_expires(client: "redis.Redis") -> None:
    """The settlers read everything, and a hold that was due minutes ago stays."""
    make_due(client, 4, ago_ms=200_000)
    now = settling.redis_ms(client)
    for number in (0, 1):
        client.hset(LANE.settle_read, position_field(SETTLE_SOURCE, number), now)


def lose_all_holds(client: "redis.Redis") -> None:
    client.delete(KEYS.held, KEYS.due)


def place(**members: int | str) -> dict[str, object]:
    return {"source": SOURCE, "partition": 0, "quantity": 1, **members}


TAMPERINGS: dict[str, tuple[Callable[["redis.Redis"], object], str, str]] = {
    "a unit comes back twice": (
        lambda c: c.hincrby(KEYS.stock, "1001", 1), NEVER_OVERSOLD, "left 8"
    ),
    "a unit does not come back": (
        lambda c: c.hincrby(KEYS.stock, "1001", -1), NEVER_LOST, "left 6"
    ),
    "the inventory's returned": (
        lambda _: sql("UPDATE seckill_item SET returned = returned + 1"),
        NEVER_TWICE, "says 3 returned, the stored settlements say 2",
    ),
    "a settlement of no hold": (
        lambda c: push(c, holds.expired(3, **place(item_id=1002, user_id=4))),
        NEVER_TWICE, "no accepted order",
    ),
    "a paid hold expires too": (
        lambda c: push(c, holds.expired(0, **place(user_id=1))),
        NEVER_TWICE, "a hold is settled in two ways",
    ),
    "an expired hold was forgiven, and was not": (
        lambda c: push(c, holds.expired(2, **place(user_id=3, forgiven=True))),
        NEVER_TWICE, "a hold is settled in two ways",
    ),
    "a hold is settled, and Redis holds it still": (
        lambda c: push(c, holds.expired(4, **place(user_id=5))),
        NEVER_OVERSOLD, "Redis holds 2",
    ),
    "a hold is gone, and it is counted still": (
        lambda c: (remove(c, f"{SOURCE}:0:4"), c.hincrby(KEYS.stats, "held", 1)),
        NEVER_LOST, "the scripts counted 2 holds, and there are 1",
    ),
    "a block is due later than its hold": (
        lambda c: c.zincrby(KEYS.due, 1, f"{SOURCE}:0:0"),
        NEVER_LOST, "and its time in",
    ),
    "a hold that nobody expires": (nobody_expires, NEVER_LOST, "is due for 200 s"),
    "a byte of the board": (
        lambda c: c.setrange(LANE.board(SOURCE, 0, 0), 2, "0"),
        NEVER_TWICE, "is expired, the board says 0",
    ),
    "holds without their times": (
        lambda c: c.zrem(KEYS.due, f"{SOURCE}:0:0"), NEVER_LOST, "1 blocks of holds, 0 times"
    ),
    "all holds are lost": (lose_all_holds, NEVER_LOST, "and there are 0"),
    "a settle message without an outcome": (
        lambda c: c.hincrby(LANE.settle_stats, "paid", -1), NEVER_DROPPED, "outcomes to 2"
    ),
    "a settlement is lost": (
        lambda _: sql("DELETE FROM seckill_settlement WHERE kind = 'paid'"),
        NEVER_LOST, "paid holds: the scripts counted 1, the settlements say 0",
    ),
    "a late payment is lost": (
        lambda c: c.lrem(LANE.list, 1, c.lindex(LANE.list, 0)),  # type: ignore[arg-type]
        NEVER_LOST, "late payments: the scripts counted 1, the settlements say 0",
    ),
    "nothing refuses a second settlement": (
        lambda _: sql("ALTER TABLE seckill_settlement RENAME CONSTRAINT hold_settled_once TO gone"),
        NEVER_TWICE, "a hold could be settled twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found(sale: "redis.Redis", name: str) -> None:
    tamper, invariant, words = TAMPERINGS[name]
    tamper(sale)
    try:
        findings = audit(sale, LANE).findings
    finally:
        if name == "nothing refuses a second settlement":
            sql("ALTER TABLE seckill_settlement RENAME CONSTRAINT gone TO hold_settled_once")
    said = [(finding.invariant, finding.explanation) for finding in findings]
    assert any(words in text and found == invariant for found, text in said), said


def test_holds_that_expire_while_it_looks_are_no_finding(
    sale: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is read, then the list: what expires in between is in the list, and not in Redis."""
    from seckill.postgres import sold

    plain = sold.waiting

    def expires_first(*arguments: object) -> object:
        make_due(sale, 4, 5)
        settling.expire(sale)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sold, "waiting", expires_first)
    assert audit(sale, LANE).findings == []
