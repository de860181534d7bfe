"""The acts of operators on real services: what they change, write down, and leave alone."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seckill.audit.audit import audit
from seckill.control.control import Control
from seckill.errors import Fenced, NoSuchActivity, RedisAway, Refused
from seckill.formats.outcomes import MAX_ID, MAX_UNITS
from seckill.lane.client import no_retry
from seckill.lane.keys import CONTROL_CHANNEL, Lane
from seckill.lane.status import LaneStatus
from seckill.models import Activity, Item, Record, StockChange
from seckill.models import Lane as LaneRow
from seckill.postgres.witness import mark
from seckill.recovery.rebuild import recover
from tests.helpers.sale import SOURCE, body, buyers_of, everything, holds_no_sale, stock, waiting
from tests.helpers.shop import LANE, Busy, Shop
from tests.helpers.storing import Lossy


class TestSetStock:
    def test_a_new_sale(self, shop: Shop) -> None:
        act = shop.control.set_stock(7, {1001: 10, 1002: 0})
        assert (act.version, act.old, act.new) == (
            1, {"1001": 0, "1002": 0}, {"1001": 10, "1002": 0},
        )  # fmt: skip
        assert stock(shop.client, 7) == {1001: 10, 1002: 0}
        items = Item.objects.filter(activity_id=7).order_by("item_id")
        assert [(i.item_id, i.allocation, i.sold) for i in items] == [(1001, 10, 0), (1002, 0, 0)]
        assert shop.status(7).over is None
        shop.clean()

    def test_in_mid_sale_what_was_sold_stays_sold(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10, 1002: 5})
        shop.buy(*[body(n) for n in range(1, 8)])
        shop.store()
        shop.buy(body(8))
        shop.control.set_stock(1, {1001: 100})
        assert (shop.item(1001), shop.item(1002)) == ((100, 108), (5, 5))
        assert Item.objects.get(item_id=1001).allocation == 108
        shop.clean()
        shop.buy(*[body(n) for n in range(9, 20)])
        assert shop.item() == (89, 108)
        shop.clean()

    def test_statistics_start_again_and_the_sums_stay(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3})
        shop.buy(body(1, {1001: 2}), body(2, {1001: 2}), body(3, {9999: 1}), b"bad")
        shop.control.set_stock(1, {1001: 3})
        status = shop.status()
        assert (status.total, status.units_sold, status.records) == (0, 0, 0)
        assert status.latency.count == 0
        assert (status.total_units, status.total_records) == (2, 1)
        assert shop.control.status().decided == 4
        shop.buy(body(4))
        assert (shop.status().success, shop.status().units_sold) == (1, 1)
        assert shop.status().latency.count == 1
        shop.clean()

    def test_over_is_cleared_where_units_are_left(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 1, 1002: 0})
        assert shop.buy(body(1), body(2)) == {"ACCEPTED": 1, "OVER": 1}
        shop.control.set_stock(1, {1002: 0})
        assert shop.status().over == "sold_out"
        shop.control.set_stock(1, {1002: 1})
        assert shop.status().over is None
        assert not shop.client.hexists(LANE.activity(1).state, "over_at")
        shop.control.finish(1)
        shop.control.set_stock(1, {1001: 1})
        assert shop.buy(body(3)) == {"ACCEPTED": 1}
        shop.control.set_stock(1, {1001: 0, 1002: 0})
        assert shop.status().over == "sold_out"
        assert shop.buy(body(3)) == {"OVER": 1}
        shop.clean()

    def test_while_the_sale_goes_on(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 50})
        with Busy(shop):
            for units in (0, 7, 500, 1, 30) * 4:
                shop.control.set_stock(1, {1001: units})
        left, loaded = shop.item()
        shop.store()
        sold = sum(Record.objects.values_list("quantity", flat=True))
        assert (left + sold, Item.objects.get().allocation) == (loaded, loaded)
        shop.clean()

    def test_the_largest_numbers(self, shop: Shop) -> None:
        shop.control.set_stock(MAX_ID, {MAX_ID: MAX_UNITS, MAX_ID - 1: MAX_UNITS})
        shop.buy(body(1, {MAX_ID: 10**6, MAX_ID - 1: 1}, activity_id=MAX_ID))
        shop.control.set_stock(MAX_ID, {MAX_ID: MAX_UNITS})
        assert shop.item(MAX_ID, MAX_ID) == (MAX_UNITS, MAX_UNITS + 10**6)
        shop.clean()

    @pytest.mark.parametrize(
        ("activity", "wanted", "field"),
        [
            (0, {1001: 1}, "activity_id"),
            (2**63, {1001: 1}, "activity_id"),
            (1, {}, "value"),
            (1, {0: 1}, "value"),
            (1, {2**63: 1}, "value"),
            (1, {1001: -1}, "value"),
            (1, {1001: MAX_UNITS + 1}, "value"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, shop: Shop, activity: int, wanted: dict[int, int], field: str
    ) -> None:
        with pytest.raises(Refused) as refused:
            shop.control.set_stock(activity, wanted)
        assert refused.value.field == field
        assert everything(shop.client) == {}
        assert not StockChange.objects.exists()
        assert not Activity.objects.exists()


class TestFinish:
    def test_everything_after_it_is_over(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        assert shop.buy(body(1)) == {"ACCEPTED": 1}
        act = shop.control.finish(1)
        assert (act.old, act.new) == ({"over": None}, {"over": "finished"})
        assert shop.buy(body(2)) == {"OVER": 1}
        assert shop.item() == (9, 10)
        again = shop.control.finish(1)
        assert (again.old, again.version) == ({"over": "finished"}, act.version + 1)
        shop.clean()

    def test_other_activities_go_on(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.control.set_stock(2, {1001: 10})
        shop.control.finish(1)
        assert shop.buy(body(1), body(1, activity_id=2)) == {"OVER": 1, "ACCEPTED": 1}

    def test_a_sale_can_be_ended_on_a_full_redis(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.client.config_set("maxmemory", 1)
        try:
            shop.control.finish(1)
        finally:
            shop.client.config_set("maxmemory", 0)
        assert shop.buy(body(1)) == {"OVER": 1}

    def test_an_unknown_activity(self, shop: Shop) -> None:
        with pytest.raises(NoSuchActivity):
            shop.control.finish(1)
        assert not StockChange.objects.exists()

    def test_an_activity_that_is_not_loaded(self, shop: Shop) -> None:
        Activity.objects.create(id=1)
        with pytest.raises(NoSuchActivity, match="sync_from_db"):
            shop.control.finish(1)
        entry = StockChange.objects.get()
        assert (entry.state, entry.version) == ("failed", None)
        assert "not loaded" in entry.detail
        assert holds_no_sale(shop.client)


class TestConfigure:
    def change(self, shop: Shop, **fields: Any) -> Any:
        """An operator's edit of the row."""
        row = Activity.objects.get(pk=1)
        for name, value in fields.items():
            setattr(row, name, value)
        return shop.control.configure(row)

    def test_the_window_and_the_timeout(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        now = datetime.now(UTC)
        hour = timedelta(hours=1)
        self.change(shop, opens_at=now + hour, timeout_ms=1000)
        assert shop.buy(body(1), body(1, at=0)) == {"NOT_OPEN": 1, "EXPIRED": 1}
        self.change(shop, opens_at=now - hour, closes_at=now + hour, timeout_ms=None)
        assert shop.buy(body(1), body(1, at=0)) == {"ACCEPTED": 2}
        act = self.change(shop, opens_at=None, closes_at=now - hour)
        assert act.old["opens_at"] == round((now - hour).timestamp() * 1000)
        assert act.new["opens_at"] is None
        assert shop.buy(body(1)) == {"NOT_OPEN": 1}
        self.change(shop, closes_at=None)
        assert shop.buy(body(1)) == {"ACCEPTED": 1}
        row = Activity.objects.get(pk=1)
        assert (row.opens_at, row.closes_at, row.timeout_ms) == (None, None, None)
        shop.clean()

    def test_a_limit_counts_what_was_bought_before_it(self, shop: Shop) -> None:
        """Some of it is in the database, some in the list."""
        shop.control.set_stock(1, {1001: 100})
        shop.buy(*[body(1)] * 2, body(2))
        shop.store()
        shop.buy(body(1), body(3, {1001: 5}))
        assert len(waiting(shop.client)) == 2
        self.change(shop, user_limit=4)
        assert shop.buy(body(1), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}
        assert shop.buy(body(2, {1001: 3}), body(2), body(3)) == {"ACCEPTED": 1, "LIMIT": 2}
        # A higher limit keeps the counts, none forgets them, and a new one counts again.
        self.change(shop, user_limit=5)
        assert shop.buy(body(1), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}
        self.change(shop, user_limit=None)
        assert not shop.client.exists(LANE.activity(1).buyers)
        assert shop.buy(body(1)) == {"ACCEPTED": 1}
        self.change(shop, user_limit=7)
        assert shop.buy(body(1), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}
        shop.clean()

    def test_a_limit_set_while_the_sale_goes_on(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10**6})
        for limit in (40, None, 60, None, 100):
            with Busy(shop):
                self.change(shop, user_limit=limit)
        shop.store()
        bought: Counter[int] = Counter()
        for user, units in Record.objects.values_list("user_id", "quantity"):
            bought[user] += units
        assert buyers_of(shop.client) == bought
        shop.clean()

    def test_a_name_is_saved_and_journalled_and_redis_stays_as_it_is(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        before = everything(shop.client)
        act = self.change(shop, name="Singles' day")
        assert act is not None
        assert (act.version, act.old, act.new) == (1, {"name": ""}, {"name": "Singles' day"})
        assert Activity.objects.get().name == "Singles' day"
        assert everything(shop.client) == before
        assert StockChange.objects.get(pk=act.journal_id).state == "applied"
        assert self.change(shop, name="Singles' day") is None

    def test_what_is_new_is_made_and_journalled(self, shop: Shop) -> None:
        act = shop.control.configure(Activity(id=7, name="Night", user_limit=2))
        assert act is not None
        row = StockChange.objects.get(pk=act.journal_id)
        assert (row.act, row.activity_id, row.actor) == ("create_activity", 7, "olga")
        assert (row.new["name"], row.new["user_limit"]) == ("Night", 2)
        assert Activity.objects.get().user_limit == 2

    def test_what_is_not_loaded_is_saved_and_loaded_with_it(self, shop: Shop) -> None:
        Activity.objects.create(id=1)
        act = self.change(shop, user_limit=2, timeout_ms=5000, hold_s=600)
        assert act is not None
        assert act.version == 0
        shop.control.set_stock(1, {1001: 10})
        status = shop.status()
        assert (status.user_limit, status.timeout_ms, status.hold_s) == (2, 5000, 600)
        assert shop.buy(body(1, {1001: 2}), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}

    def test_a_hold_is_for_new_decisions_only(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.buy(body(1))
        assert self.change(shop, hold_s=600).new == {"hold_s": 600}
        shop.buy(body(2), body(3))
        assert self.change(shop, hold_s=None).old == {"hold_s": 600}
        shop.buy(body(4))
        holds = shop.status().holds
        assert (holds.held, holds.paid, holds.all) == (2, 0, 2)
        assert shop.status().items[1001].sold == 4
        for wrong in (0, 604_801):
            with pytest.raises(Refused, match="604800") as refused:
                shop.control.configure_fields(1, hold_s=wrong)
            assert refused.value.field == "hold_s"


class TestSync:
    def test_repeating_it_changes_nothing_but_the_version(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10, 1002: 5})
        shop.buy(*[body(n) for n in range(1, 5)])
        shop.store()
        shop.buy(body(5), body(6, {1002: 5}))
        before = everything(shop.client)
        state = LANE.activity(1).state.encode()
        for version in (2, 3, 4):
            act = shop.control.sync_from_db(1)
            assert act.version == version
            assert act.old == act.new == {"1001": 5, "1002": 0}
            after = everything(shop.client)
            assert int(after[state].pop(b"version")) == version
            named = after[state].pop(b"journal").decode()
            assert named == mark(act.journal_id, StockChange.objects.get(pk=act.journal_id).at)
            steady = {k: v for k, v in before[state].items() if k not in (b"version", b"journal")}
            assert after == {**before, state: steady}
        shop.clean()

    def test_in_mid_sale_with_a_worker_that_stores(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10**6})
        with Busy(shop):
            for _ in range(20):
                shop.control.sync_from_db(1)
        shop.store()
        left, loaded = shop.item()
        assert loaded == 10**6
        assert left == loaded - Record.objects.count()
        shop.clean()

    def test_what_the_database_says_comes_to_redis(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.buy(*[body(n) for n in range(1, 5)])
        Item.objects.filter(item_id=1001).update(allocation=50)
        Item.objects.create(activity_id=1, item_id=1002, allocation=3)
        assert shop.control.sync_from_db(1).new == {"1001": 46, "1002": 3}
        assert (shop.item(1001), shop.item(1002)) == ((46, 50), (3, 3))
        shop.clean()
        # Less than is sold already: nothing is left, and what is sold stays sold.
        Item.objects.filter(item_id=1001).update(allocation=2)
        assert shop.control.sync_from_db(1).new == {"1001": 0, "1002": 3}
        assert shop.item(1001) == (0, 4)

    def test_over_follows_the_units(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 1})
        shop.buy(body(1))
        assert shop.status().over == "sold_out"
        Item.objects.update(allocation=5)
        shop.control.sync_from_db(1)
        assert shop.status().over is None
        Item.objects.update(allocation=1)
        shop.control.sync_from_db(1)
        assert shop.status().over == "sold_out"
        # What an operator has ended stays ended.
        shop.control.finish(1)
        Item.objects.update(allocation=5)
        shop.control.sync_from_db(1)
        assert shop.status().over == "finished"

    def test_an_emptied_redis_with_orders_is_for_recover(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.buy(body(1))
        shop.store()
        shop.client.flushall()
        for act in (
            lambda: shop.control.sync_from_db(1),
            lambda: shop.control.set_stock(1, {1001: 100}),
            lambda: shop.control.load(1, {1001: 10}, replace=False),
        ):
            with pytest.raises(Refused, match=r"manage\.py recover"):
                act()
        assert everything(shop.client) == {}

    def test_an_emptied_redis_before_the_first_order_is_for_recover_too(self, shop: Shop) -> None:
        """What was decided, and left no order, is not known: it must not be decided twice."""
        shop.control.set_stock(1, {1001: 10, 1002: 5})
        TestConfigure().change(shop, user_limit=3)
        shop.client.flushall()
        for act in (
            lambda: shop.control.sync_from_db(1),
            lambda: shop.control.set_stock(1, {1001: 100}),
        ):
            with pytest.raises(Fenced, match="PostgreSQL knows the lane"):
                act()
        assert recover(shop.client, LANE, SOURCE, [0], "olga", print).lifted
        assert (shop.item(1001), shop.item(1002)) == ((10, 10), (5, 5))
        assert shop.status().user_limit == 3
        shop.control.set_stock(1, {1001: 100})
        assert (shop.item(1001), shop.item(1002)) == ((100, 100), (5, 5))
        shop.clean()

    def test_only_its_own_orders_are_summed(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.control.set_stock(2, {1001: 10})
        shop.buy(body(1), body(2, activity_id=2))
        shop.store()
        with CaptureQueriesContext(connection) as captured:
            shop.control.sync_from_db(2)
        sums = [q["sql"] for q in captured if "GROUP BY activity_id, item_id" in q["sql"]]
        assert len(sums) == 1
        assert "WHERE activity_id = 2" in sums[0]
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan TO off")
            cursor.execute(
                "EXPLAIN SELECT sum(quantity) FROM (SELECT * FROM seckill_record UNION ALL"
                " SELECT * FROM seckill_record) AS accepted WHERE activity_id = 2"
            )
            plan = "\n".join(row[0] for row in cursor.fetchall())
            cursor.execute("RESET enable_seqscan")
        assert "Index Cond: (activity_id = 2)" in plan
        assert shop.item(1001, 2) == (9, 10)
        shop.clean()

    def test_nothing_to_sync(self, shop: Shop) -> None:
        with pytest.raises(NoSuchActivity):
            shop.control.sync_from_db(1)
        Activity.objects.create(id=1)
        with pytest.raises(Refused, match="no items"):
            shop.control.sync_from_db(1)
        assert holds_no_sale(shop.client)
        assert StockChange.objects.get().state == "failed"


class TestLoad:
    def test_only_what_is_not_loaded(self, shop: Shop) -> None:
        assert shop.control.load(1, {1001: 10}, replace=False) == [
            "activity 1: put on sale: {1001: 10}"
        ]
        shop.buy(body(1))
        lines = shop.control.load(1, {1001: 99, 1002: 5}, replace=False)
        assert lines == [
            "activity 1: kept as loaded: {1001: 9} (--reset replaces)",
            "activity 1: put on sale: {1002: 5}",
        ]
        assert (shop.item(1001), shop.item(1002)) == ((9, 10), (5, 5))
        assert shop.control.load(1, {}, replace=False) == []
        shop.clean()

    def test_what_only_the_database_has_comes_from_there(self, shop: Shop) -> None:
        Activity.objects.create(pk=1)
        Item.objects.create(activity_id=1, item_id=1001, allocation=10)
        lines = shop.control.load(1, {1001: 99, 1002: 5}, replace=False)
        assert lines == [
            "activity 1: loaded from the database: {'1001': 10}",
            "activity 1: put on sale: {1002: 5}",
        ]
        shop.clean()

    def test_replacing_is_on_purpose(self, shop: Shop) -> None:
        shop.control.load(1, {1001: 10}, replace=False)
        shop.buy(body(1))
        assert shop.control.load(1, {1001: 10}, replace=True) == [
            "activity 1: stock replaced: {'1001': 9} -> {'1001': 10}"
        ]
        assert shop.item() == (10, 11)

    def test_two_that_start_at_once_put_it_on_sale_once(self, shop: Shop) -> None:
        """Between the look and the act of one, the other one has loaded it and sold some."""

        class Overtaken(Control):
            waiting = True

            def status(self) -> LaneStatus:
                seen = super().status()
                if self.waiting:
                    self.waiting = False
                    shop.control.load(1, {1001: 10}, replace=False)
                    assert shop.buy(body(1), body(2), body(3)) == {"ACCEPTED": 3}
                return seen

        class OvertakenLater(Overtaken):
            waiting = False

            def set_stock(self, activity_id: int, *args: Any, **options: Any) -> Any:
                self.waiting = True
                self.status()
                return super().set_stock(activity_id, *args, **options)

        Overtaken(shop.client, "second", LANE).load(1, {1001: 10}, replace=False)
        assert shop.item() == (7, 10)
        shop.client.flushall()
        for model in (Record, Item, Activity, StockChange, LaneRow):
            model.objects.all().delete()
        shop.next_offset = 0
        lines = OvertakenLater(shop.client, "third", LANE).load(
            1, {1001: 10, 1002: 4}, replace=False
        )
        assert shop.item() == (7, 10)
        assert shop.item(1002) == (4, 4)
        assert lines == ["activity 1: put on sale: {1002: 4}"]
        lines = OvertakenLater(shop.client, "fourth", LANE).load(2, {1001: 10}, replace=False)
        assert lines == ["activity 2: put on sale: {1001: 10}"]
        shop.clean()


class TestJournal:
    def test_a_row_for_each_act(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.buy(body(1))
        Control(shop.client, "key:shop", Lane()).set_stock(1, {1001: 20})
        shop.control.finish(1)
        TestConfigure().change(shop, user_limit=5)
        shop.control.sync_from_db(1)
        rows = list(StockChange.objects.order_by("id"))
        assert [(r.actor, r.act, r.state) for r in rows] == [
            ("olga", "set_stock", "applied"),
            ("key:shop", "set_stock", "applied"),
            ("olga", "finish_activity", "applied"),
            ("olga", "configure", "applied"),
            ("olga", "sync_from_db", "applied"),
        ]
        assert (rows[1].old, rows[1].new) == ({"1001": 9}, {"1001": 20})
        versions = [r.version for r in rows]
        assert versions == sorted(set(versions))
        assert versions[-1] == shop.status().version

    def test_redis_away_leaves_a_begun_row_and_changes_nothing(self, shop: Shop) -> None:
        nobody = redis.Redis.from_url("redis://127.0.0.1:1/0", retry=no_retry())
        with pytest.raises(RedisAway):
            Control(nobody, "olga", Lane()).set_stock(1, {1001: 10})
        entry = StockChange.objects.get()
        assert (entry.state, entry.version, entry.new) == ("started", None, {"1001": 10})
        assert "Redis is away" in entry.detail
        assert not Item.objects.exists()

    def test_an_answer_that_was_lost_is_seen_and_mended_by_the_same_act(self, shop: Shop) -> None:
        """Redis has done it, PostgreSQL does not know: the journal and the audit say so."""
        shop.control.set_stock(1, {1001: 10})
        shop.buy(body(1))
        client = Lossy.from_url(shop.redis_url, retry=no_retry())
        client.lose = "EVALSHA"
        with pytest.raises(RedisAway):
            Control(client, "olga", Lane()).set_stock(1, {1001: 30})
        client.close()
        assert shop.item() == (30, 31)
        assert Item.objects.get().allocation == 10
        assert StockChange.objects.latest("id").state == "started"
        report = audit(shop.client, Lane())
        assert not report.clean
        assert "cut off" in report.findings[0].act
        assert any("journal" in note for note in report.notes)
        shop.control.set_stock(1, {1001: 30})
        shop.clean()


def test_every_act_is_published(shop: Shop) -> None:
    listener = shop.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(CONTROL_CHANNEL)
    while listener.get_message(timeout=60) is not None:
        pass
    shop.control.set_stock(MAX_ID, {1001: 10, MAX_ID: 5})
    shop.control.set_stock(1, {1001: 10})
    shop.control.finish(1)
    TestConfigure().change(shop, timeout_ms=500)
    shop.control.sync_from_db(1)
    heard = []
    while len(heard) < 5:
        message = listener.get_message(timeout=60)
        assert message is not None
        heard.append(json.loads(message["data"]))
    listener.close()
    assert [(m["cmd"], m["activity_id"], m["version"], m["actor"]) for m in heard] == [
        ("set_stock", MAX_ID, 1, "olga"),
        ("set_stock", 1, 1, "olga"),
        ("finish_activity", 1, 2, "olga"),
        ("configure", 1, 3, "olga"),
        ("sync_from_db", 1, 4, "olga"),
    ]
    assert heard[0]["stock"] == {"1001": 10, str(MAX_ID): 5}
    assert heard[3]["state"]["timeout"] == "500"
