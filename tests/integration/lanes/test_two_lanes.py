"""Two lanes on one PostgreSQL: two lists of one Redis, or two Redis servers. Neither takes, counts,
loads, repairs or blames what is the other's.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import psycopg
import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import CannotCheck, audit
from seckill.audit.verdict import write_report
from seckill.consumer.guard import Guard
from seckill.control.control import Control, Refused
from seckill.errors import OtherLane
from seckill.events.feed import Cursor, Feed
from seckill.formats.advice import in_lane
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Record, StockChange
from seckill.monitoring.look import look
from seckill.monitoring.readiness import look as look_at_readiness
from seckill.monitoring.status_table import table
from seckill.process.console import Console
from seckill.recovery.plan import make_plan, postgres_state
from seckill.recovery.rebuild import recover
from seckill.results.read import ACCEPTED, Reader
from seckill.telemetry.heartbeats import Heart, Kind, read_workers
from tests.helpers.sale import SOURCE, body, keep_dead, new_source
from tests.helpers.servers import own_valkey
from tests.helpers.shop import Shop

MAIN, NORTH = Lane(), Lane.named("north")
# Of lane main and of lane north.
FIRST, SECOND = 1, 2


@dataclass
class Two:
    """Two shops, each with a sale of 100 units in its lane."""

    main: Shop
    north: Shop

    def both(self) -> tuple[Shop, Shop]:
        return self.main, self.north

    def sell(self, *, store: bool = True) -> None:
        """60 units in main, 70 in north, at the same offsets of two topics."""
        assert self.main.buy(*[body(n, activity_id=FIRST) for n in range(1, 61)]) == {
            "ACCEPTED": 60
        }
        assert self.north.buy(*[body(n, activity_id=SECOND) for n in range(1, 71)]) == {
            "ACCEPTED": 70
        }
        if store:
            for shop in self.both():
                shop.store()

    def clean(self) -> None:
        for shop in self.both():
            shop.clean()


@pytest.fixture(params=["two lists", "two servers"])
def two(
    request: pytest.FixtureRequest,
    stack: Endpoints,
    redis_client: "redis.Redis",
    pg_dsn: str,
    tmp_path: Path,
) -> Iterator[Two]:
    with contextlib.ExitStack() as ends:
        url, client = stack.redis_url, redis_client
        if request.param == "two servers":
            url = ends.enter_context(own_valkey(tmp_path))
            client = ends.enter_context(connect(url))
        two = Two(
            Shop(redis_client, stack.redis_url, pg_dsn),
            Shop(client, url, pg_dsn, NORTH, new_source()),
        )
        ends.callback(two.main.close)
        ends.callback(two.north.close)
        two.main.control.set_stock(FIRST, {1001: 100})
        two.north.control.set_stock(SECOND, {1001: 100})
        yield two


def test_each_sells_its_own_and_both_audits_are_clean(two: Two) -> None:
    two.sell(store=False)
    two.clean()
    for shop in two.both():
        shop.store()
    two.clean()
    assert dict(Activity.objects.values_list("pk", "lane")) == {FIRST: "main", SECOND: "north"}
    reports = [audit(shop.client, shop.lane) for shop in two.both()]
    assert [(r.activities, r.messages, r.units_sold, r.records_stored) for r in reports] == [
        (1, 60, 60, 60),
        (1, 70, 70, 70),
    ]


def test_no_act_brings_an_activity_into_a_second_lane(two: Two) -> None:
    two.sell()
    acts = (
        lambda c: c.sync_from_db(SECOND),
        lambda c: c.set_stock(SECOND, {1001: 100}),
        lambda c: c.add_stock(SECOND, {1001: 100}),
        lambda c: c.pause(SECOND),
        lambda c: c.finish(SECOND),
        lambda c: c.configure_fields(SECOND, user_limit=1),
        lambda c: c.load(SECOND, {1001: 100}, replace=False),
        lambda c: c.load(SECOND, {}, replace=False),
    )
    journal = StockChange.objects.count()
    for act in acts:
        with pytest.raises(OtherLane, match="activity 2 is in lane north, and this is lane main"):
            act(two.main.control)
    with pytest.raises(OtherLane, match="activity 1 is in lane main, and this is lane north"):
        two.north.control.sync_from_db(FIRST)
    assert StockChange.objects.count() == journal
    assert set(two.main.control.status().activities) == {FIRST}
    # What the audit advises is done in the lane of the activity, and sells nothing twice.
    assert two.north.control.sync_from_db(SECOND).new == {"1001": 30}
    assert two.north.buy(*[body(n, activity_id=SECOND) for n in range(100, 200)]) == {
        "ACCEPTED": 30,
        "OVER": 70,
    }
    two.north.store()
    two.clean()


def test_a_start_that_asks_for_no_activity_takes_none_of_another_lane(two: Two) -> None:
    # 1 stands for "none was named".
    assert two.north.control.load(FIRST, {}, replace=False) == []
    assert set(two.north.control.status().activities) == {SECOND}


def test_a_request_in_the_wrong_topic_is_counted_and_buys_nothing(two: Two) -> None:
    assert two.main.buy(body(1, activity_id=SECOND), body(2, activity_id=FIRST)) == {
        "ACCEPTED": 1,
        "NO_SUCH_ACTIVITY": 1,
    }
    assert two.main.control.status().no_such_activity == 1
    assert two.north.item(activity=SECOND) == (100, 100)
    two.main.store()
    two.clean()


def test_a_lane_that_was_emptied_is_rebuilt_from_its_own_orders(two: Two) -> None:
    two.sell()
    for key in two.north.client.scan_iter(match=f"{{{NORTH.list}}}*"):
        two.north.client.delete(key)
    # The other one sells on meanwhile, and its acts are admitted.
    assert two.main.buy(body(500, activity_id=FIRST)) == {"ACCEPTED": 1}
    two.main.control.add_stock(FIRST, {1001: 1})
    with pytest.raises(Refused, match="PostgreSQL knows the lane"):
        two.north.control.sync_from_db(SECOND)
    plan = make_plan(two.north.client, NORTH, two.north.source, [0])
    assert [activity.activity_id for activity in plan.activities] == [SECOND]
    assert [(place.source, place.position) for place in plan.partitions] == [(two.north.source, 70)]
    done = recover(two.north.client, NORTH, two.north.source, [0], "test", lambda _line: None)
    assert done.report.findings == []
    assert done.lifted
    assert two.north.item(activity=SECOND) == (30, 100)
    two.main.store()
    two.clean()
    assert postgres_state(two.main.client, MAIN).older == ""


def test_a_consumer_compares_its_redis_with_its_lanes_orders_alone(two: Two) -> None:
    two.sell()
    for shop, source in ((two.main, SOURCE), (two.north, two.north.source)):
        guard = Guard(
            shop.client, shop.lane, shop.dsn, lambda source=source: source, dict, "a consumer"
        )
        run_id = shop.client.info("server")["run_id"]
        assert guard.admit(run_id).identity
        guard.close()
        assert read_lane(shop.client, shop.lane).fence is None
    identities = {read_lane(shop.client, shop.lane).identity for shop in two.both()}
    assert len(identities) == 2


def test_a_lane_made_beside_a_sale_has_lost_nothing(two: Two) -> None:
    two.sell()
    east = Lane.named("east")
    control = Control(two.main.client, "olga", east)
    # As if the first act had been cut off between PostgreSQL and Redis.
    control.create(7)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO seckill_lane (name, identity, generation, master, term)"
            " VALUES (%s, gen_random_uuid(), 0, 'nobody', 1)",
            [east.list],
        )
    assert control.set_stock(7, {1001: 5}).new == {"1001": 5}
    assert Activity.objects.get(pk=7).lane == "east"
    assert audit(two.main.client, east).findings == []


def test_an_activity_that_two_lanes_hold_is_a_finding_and_no_recovery_takes_it(two: Two) -> None:
    two.sell()
    # Nobody but a hand can do this.
    Activity.objects.filter(pk=SECOND).update(lane="main")
    told = "activity 2 is of lane main, and the Redis of lane north holds it too"
    findings = audit(two.north.client, NORTH).findings
    assert any(told in finding.explanation for finding in findings)
    assert told in make_plan(two.north.client, NORTH, two.north.source, [0]).notes[0]
    with pytest.raises(Refused, match=told):
        recover(two.north.client, NORTH, two.north.source, [0], "test", lambda _line: None)
    assert two.north.item(activity=SECOND) == (30, 100)


def test_orders_of_an_activity_without_a_row_stay_in_their_lane(two: Two) -> None:
    two.sell(store=False)
    # PostgreSQL came back from a copy that was made before the activity.
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM seckill_activity WHERE id = %s", [SECOND])
    two.north.store()
    assert Activity.objects.get(pk=SECOND).lane == "north"
    two.main.store()
    two.main.clean()
    assert two.main.control.sync_from_db(FIRST).new == {"1001": 40}


def test_a_lane_whose_activity_postgres_has_lost_is_recovered_from_its_redis(two: Two) -> None:
    # As above, and an act follows before an order does.
    with connection.cursor() as cursor:
        for table, column in (("activity", "id"), ("item", "activity_id")):
            cursor.execute(f"DELETE FROM seckill_{table} WHERE {column} = %s", [SECOND])
        cursor.execute("DELETE FROM seckill_stockchange WHERE activity_id = %s", [SECOND])
    assert "the last act in activity 2" in postgres_state(two.north.client, NORTH).older
    assert audit(two.north.client, NORTH).findings
    assert audit(two.main.client, MAIN).findings == []
    two.north.control.set_stock(SECOND, {1001: 100})
    assert Activity.objects.get(pk=SECOND).lane == "north"
    two.clean()


def test_each_lane_tells_of_its_own_orders(two: Two) -> None:
    two.sell()
    with psycopg.connect(two.main.dsn, autocommit=True) as postgres:
        for shop, activity, orders in ((two.main, FIRST, 60), (two.north, SECOND, 70)):
            feed, cursor, events = Feed(50, shop.lane), Cursor(), []
            while chunk := feed.next(postgres, cursor):
                cursor, events = chunk.cursor, events + chunk.events
            assert [event.activity_id for event in events] == [activity] * orders
            # Nothing is left behind that would be read again and again.
            assert feed.behind(postgres, cursor) == 0


def test_what_could_not_be_stored_belongs_to_the_lane_of_its_activity(two: Two) -> None:
    two.sell()
    # An order of lane north that PostgreSQL refused: one unit of item 1001, at an offset above.
    assert two.north.buy(body(900, activity_id=SECOND)) == {"ACCEPTED": 1}
    (raw,) = two.north.client.lrange(NORTH.list, 0, -1)
    keep_dead(raw)
    two.north.client.delete(NORTH.list)
    two.clean()
    assert two.north.storage.count_dead() == 1
    assert two.main.storage.count_dead() == 0


def test_the_answer_to_a_buyer_comes_from_the_lane_of_the_request(two: Two) -> None:
    two.sell(store=False)
    for shop in two.both():
        (result,) = Reader(shop.client, shop.lane).read([(shop.source, 0, 5)], []).places
        assert result.state == ACCEPTED
    assert Record.objects.count() == 0


def all_that_is_told(shop: Shop, activity: int) -> list[str]:
    """What a lane that is emptied, fenced, or lacks a row tells, each with a command to run."""
    told: list[str] = []

    def refusal(act: Callable[[], object]) -> None:
        with pytest.raises((Refused, CannotCheck)) as refused:
            act()
        told.append(str(refused.value))

    def look_round() -> None:
        ready = look_at_readiness(shop.client, shop.lane)
        told.extend(" ".join(parts.values()) for parts in ready.missing.values())
        out = StringIO()
        Console(file=out, width=500).print(table(look(shop.client, shop.lane)))
        told.append(out.getvalue())

    look_round()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM seckill_record WHERE id = (SELECT max(id) FROM seckill_record"
            " WHERE activity_id = %s)",
            [activity],
        )
    report = audit(shop.client, shop.lane)
    told += [finding.act for finding in report.findings if "manage.py" in finding.act]
    assert len(told) > 2
    write_report(shop.client, report, "a test", shop.lane)
    guard = Guard(shop.client, shop.lane, shop.dsn, lambda: shop.source, dict, "a consumer")
    for key in shop.client.scan_iter(match=f"{{{shop.lane.list}}}*"):
        shop.client.delete(key)
    refusal(lambda: audit(shop.client, shop.lane))
    refusal(lambda: shop.control.sync_from_db(activity))
    look_round()
    shop.client.hset(shop.lane.positions, f"{shop.source}:0", 1)
    guard.admit(shop.client.info("server")["run_id"])
    guard.close()
    fence = read_lane(shop.client, shop.lane).fence
    assert fence is not None
    told.append(fence.why)
    refusal(lambda: shop.control.pause(activity))
    look_round()
    heart = Heart(shop.redis_url, shop.lane, Kind.CONSUMER)
    heart.beat(1, "FENCED: manage.py recover shows the plan")
    told += [worker.detail for worker in read_workers(shop.client, shop.lane)]
    return told


def test_all_that_a_lane_advises_is_to_be_run_there(two: Two) -> None:
    two.sell()
    for shop, activity in ((two.main, FIRST), (two.north, SECOND)):
        for text in all_that_is_told(shop, activity):
            assert "manage.py" in text
            assert in_lane(text, shop.lane.name) == text
            assert ("--lane north" in text) is (shop is two.north), text
