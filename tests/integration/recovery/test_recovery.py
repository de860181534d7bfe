"""Recovery of a lane: from an emptied and from an older Redis, with records in every place.

Each ends in the audit, and in requests that go on: what was sold is not sold again.
"""

import io
import json
import threading
from collections.abc import Iterator

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection, connections

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.audit.verdict import read_last_audit
from seckill.consumer.engine import Status
from seckill.control.control import Refused
from seckill.formats.outcomes import Outcome
from seckill.lane.client import run_script
from seckill.lane.fence import RECOVERING, REWOUND, fence, new_token
from seckill.lane.keys import position_field
from seckill.lane.status import read_lane
from seckill.log_worker.worker import LogWorker
from seckill.models import Activity, Item, Record, StockChange
from seckill.postgres.claims import claim_of_lane
from seckill.process import exit_codes
from seckill.process.shutdown import Shutdown
from seckill.recovery.plan import ItemPlan, make_plan
from seckill.recovery.rebuild import Done, rebuild, recover
from tests.conftest import Manage, wait_until
from tests.faults.dying import DyingStorage
from tests.helpers.recovering import LANE, LostShop, set_back, snapshot
from tests.helpers.sale import SOURCE, body, everything


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[LostShop]:
    """Empty services."""
    shop = LostShop(redis_client, stack.redis_url, pg_dsn)
    yield shop
    shop.engine.close()
    shop.storage.close()


def test_an_emptied_redis(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10, 1002: 5})
    shop.control.configure_fields(1, user_limit=3)
    shop.control.set_stock(2, {1001: 7})
    shop.control.pause(2)
    shop.buy(0, body(1), body(1), body(2), body(1, {1002: 1}), body(8, {9999: 1}), b"bad")
    shop.buy(0, body(4, {1001: 2}), partition=1)
    shop.store()
    shop.client.flushall()
    # The way of before would decide requests again: it is closed.
    for act in (lambda: shop.control.sync_from_db(1), lambda: shop.control.set_stock(1, {1: 1})):
        with pytest.raises(Refused, match=r"manage\.py recover"):
            act()
    assert shop.buy(6, body(9)).status is Status.NOT_LOADED
    before = everything(shop.client)
    plan = make_plan(shop.client, LANE, SOURCE, [0, 1])
    assert plan.needed
    assert everything(shop.client) == before

    done = shop.recover()
    assert done.generation == 1
    lane = read_lane(shop.client, LANE)
    assert lane.fence is None
    # Up to the last record of each partition; what came after it is decided again.
    assert lane.positions == {position_field(SOURCE, 0): 4, position_field(SOURCE, 1): 1}
    assert (shop.left(), shop.left(2)) == ({1001: 5, 1002: 4}, {1001: 7})
    assert lane.activities[2].paused
    assert (lane.recovered, lane.skipped, lane.decided) == (0, 0, 5)

    # A consumer that held its own position is told where to go on, and the same buyers count.
    moved = shop.buy(6, body(9))
    assert (moved.status, moved.position, moved.generation) == (Status.MOVED, 4, 1)
    again = shop.buy(4, body(8, {9999: 1}), b"bad", body(1), body(9), generation=1)
    assert again.outcomes == b"6840"
    assert audit(shop.client, LANE).clean
    shop.store()
    assert audit(shop.client, LANE).clean
    assert list(
        StockChange.objects.filter(act="recover").order_by("activity_id").values_list(
            "activity_id", "state", "new"
        )
    ) == [(1, "applied", {"1001": 5, "1002": 4}), (2, "applied", {"1001": 7})]  # fmt: skip


def test_clicks_come_back_from_rows_and_from_the_list(shop: LostShop) -> None:
    """A buyer who asks again after the loss must not buy again."""
    odd = 'r-"漢\t\\'
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1, request_id="stored"), body(2, request_id=odd), body(3))
    shop.store()
    shop.buy(3, body(1, request_id="listed"), body(4, {1001: 99}, request_id="refused"))
    listed = shop.client.lrange(LANE.list, 0, -1)
    shop.client.flushall()
    shop.client.rpush(LANE.list, *listed)  # type: ignore[misc]
    done = shop.recover()
    assert done.lifted
    assert read_lane(shop.client, LANE).clicks == {1: 3}
    repeated = [
        body(1, request_id="stored"), body(2, request_id=odd), body(1, request_id="listed"),
        body(4, request_id="refused"),
    ]  # fmt: skip
    reply = shop.buy(4, *repeated, generation=done.generation)
    assert reply.outcomes == b"9990"
    assert audit(shop.client, LANE).clean


def test_an_older_redis_while_postgres_is_ahead(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10, 1002: 5})
    shop.buy(0, body(1), body(2))
    copy = snapshot(shop.client)
    shop.buy(2, body(3, {1001: 2}), body(4, {1001: 99}), body(5))
    shop.buy(0, body(6, {1002: 2}), partition=1)
    shop.store()
    assert Record.objects.count() == 5
    set_back(shop.client, copy)

    # One partition finds out; another one, that knows nothing of it, is stopped as well.
    assert shop.buy(5, body(7)).status is Status.REWOUND
    assert shop.buy(0, body(7), partition=1).status is Status.FENCED
    assert not audit(shop.client, LANE).clean
    done = shop.recover()
    assert [change for change in done.plan.activities[0].changes if "item 1002" in change]
    lane = read_lane(shop.client, LANE)
    assert shop.left() == {1001: 5, 1002: 3}
    assert lane.positions == {position_field(SOURCE, 0): 5, position_field(SOURCE, 1): 1}
    # The rejected one left no record: it was decided, and what it was told went with the loss.
    assert (lane.recovered, lane.activities[1].success) == (1, 5)

    # The list has come back with records that are stored: they stay stored once.
    assert lane.waiting == 2
    shop.store()
    assert Record.objects.count() == 5
    assert shop.buy(2, body(3), body(4), body(5), generation=1).status is Status.DUPLICATE
    assert shop.buy(5, body(7), generation=1).count(Outcome.ACCEPTED) == 1
    shop.store()
    report = audit(shop.client, LANE)
    assert (report.findings, report.records_stored) == ([], 6)


def test_a_batch_that_is_being_stored_at_the_loss_counts(shop: LostShop, pg_dsn: str) -> None:
    """Its list is gone, its commit is yet to come: decided again, its unit would be sold twice."""
    shop.control.set_stock(1, {1001: 1})
    shop.buy(0, body(1))
    begun, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        begun.set()
        assert go_on.wait(240)

    storage = DyingStorage(pg_dsn, "before commit", pause)
    worker = LogWorker(shop.client, storage, Shutdown())
    storing = threading.Thread(target=worker.run_once)
    storing.start()
    assert begun.wait(240)
    shop.client.flushall()

    def recover_now() -> None:
        done.append(recover(shop.client, LANE, SOURCE, [0, 1], "test", shop.said.append))
        connections.close_all()

    done: list[Done] = []
    recovering = threading.Thread(target=recover_now)
    recovering.start()
    wait_until(lambda: done or waits_for_a_lock(), 60, "the recovery waits, or does not")
    go_on.set()
    for thread in (storing, recovering):
        thread.join(240)
        assert not thread.is_alive()
    storage.close()
    assert [each.lifted for each in done] == [True]
    assert Record.objects.count() == 1
    assert shop.left() == {1001: 0}
    assert read_lane(shop.client, LANE).positions[position_field(SOURCE, 0)] == 1
    assert audit(shop.client, LANE).clean


def waits_for_a_lock() -> bool:
    """Whether somebody in PostgreSQL waits for somebody."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


def test_acts_of_after_the_copy_hold(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1))
    copy = snapshot(shop.client)
    shop.control.add_stock(1, {1001: 5})
    shop.control.finish(1)
    shop.store()
    set_back(shop.client, copy)
    fence(shop.client, LANE, REWOUND, "test")
    shop.recover()
    status = read_lane(shop.client, LANE).activities[1]
    assert shop.left() == {1001: 14}
    assert status.over == "finished"
    assert status.version > StockChange.objects.filter(act="finish_activity").get().version  # type: ignore[operator]


def test_an_act_that_postgres_has_not_heard_of_holds(shop: LostShop) -> None:
    """PostgreSQL was lost between the script of an act and its row."""
    shop.control.set_stock(1, {1001: 10})
    shop.control.finish(1)
    row = StockChange.objects.get(act="finish_activity")
    StockChange.objects.filter(pk=row.pk).update(state="started", version=None)
    Activity.objects.filter(pk=1).update(finished=False)
    fence(shop.client, LANE, REWOUND, "test")
    shop.recover()
    assert read_lane(shop.client, LANE).activities[1].over == "finished"
    row.refresh_from_db()
    assert row.state == "applied"


def test_a_late_load_changes_nothing_of_a_sale_that_runs(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.control.configure_fields(1, user_limit=1)
    shop.buy(0, body(1))
    keys = LANE.activity(1)
    before = everything(shop.client)
    names = [keys.state, keys.stats, keys.buyers, LANE.stats, LANE.activities, keys.new_buyers]
    names.append(LANE.state)
    late = run_script(shop.client, "load_state", names, [0, 0, 0, 0, 1, "", "over", "finished"])
    assert late == -1
    assert everything(shop.client) == before


def test_records_in_the_list_and_parked_ones_count(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1), body(2), body(3, {1001: 3}))
    oldest: bytes = shop.client.rpop(LANE.list)  # type: ignore[assignment]
    shop.client.lpush(LANE.dead, json.dumps({"reason": "test", "record": oldest.decode()}))
    # Earlier versions, which left letters in Redis, had no board.
    shop.client.delete(LANE.board(SOURCE, 0, 0))
    shop.client.delete(LANE.activities, LANE.positions, LANE.activity(1).stock)
    shop.recover()
    assert shop.left() == {1001: 5}
    assert read_lane(shop.client, LANE).positions == {
        position_field(SOURCE, 0): 3, position_field(SOURCE, 1): 0
    }  # fmt: skip
    assert shop.buy(0, body(1), generation=1).status is Status.DUPLICATE
    assert audit(shop.client, LANE).clean


def test_an_item_of_which_the_list_alone_knows(shop: LostShop) -> None:
    """Loaded by hand, sold, and its stock lost before anything of it was stored."""
    shop.control.set_stock(1, {1001: 10})
    keys = LANE.activity(1)
    for key in (keys.stock, keys.loaded):
        shop.client.hset(key, "1002", 5)
    shop.buy(0, body(1, {1002: 2}))
    for key in (keys.stock, keys.loaded):
        shop.client.hdel(key, "1002")
    known, unknown = make_plan(shop.client, LANE, None, []).activities[0].items
    assert known == ItemPlan(1001, 10, 10, 10, 10, 0)
    assert unknown == ItemPlan(1002, None, None, 0, 0, 2)


def test_entries_that_are_no_records_are_told(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.client.lpush(LANE.list, "the oldest", "another", "the newest")
    notes = make_plan(shop.client, LANE, None, []).notes
    assert notes == [
        "3 entries of the list are not records and do not count; the first one: b'the newest'"
    ]
    shop.client.flushall()
    assert make_plan(shop.client, LANE, None, []).notes == [
        "Redis holds nothing: it was emptied, or this is another server"
    ]


def test_more_was_sold_than_postgres_allocates(shop: LostShop) -> None:
    """An allocation is raised by a person alone: until then it is a finding, and the fence
    stays.
    """
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1, {1001: 6}))
    Item.objects.filter(item_id=1001).update(allocation=4)
    fence(shop.client, LANE, REWOUND, "test")
    done = recover(shop.client, LANE, SOURCE, [0, 1], "test", shop.said.append)
    assert not done.lifted
    assert any("sold above the allocation: 6 of 4" in f.explanation for f in done.report.findings)
    assert any("6 sold, but only 4 were put on sale" in line for line in shop.said)
    assert Item.objects.get(item_id=1001).allocation == 4
    assert read_lane(shop.client, LANE).fence is not None

    accepted = recover(
        shop.client, LANE, SOURCE, [0, 1], "test", shop.said.append, accept_oversell=True
    )
    assert accepted.lifted
    assert shop.left() == {1001: 0}
    assert Item.objects.get(item_id=1001).allocation == 6
    assert read_lane(shop.client, LANE).activities[1].over == "sold_out"
    assert "accepted by hand" in StockChange.objects.latest("id").detail


def test_cut_off_it_stays_fenced_and_can_be_repeated(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1))
    shop.store()
    shop.client.flushall()

    class Cut(Exception):
        pass

    def cut(line: str) -> None:
        if line.startswith("rebuilt"):
            raise Cut

    with pytest.raises(Cut):
        recover(shop.client, LANE, SOURCE, [0, 1], "test", cut)
    lane = read_lane(shop.client, LANE)
    assert lane.fence is not None
    assert lane.fence.word == RECOVERING
    assert shop.buy(1, body(2)).status is Status.FENCED
    assert shop.recover().generation == 2
    assert shop.buy(1, body(2), generation=2).status is Status.DECIDED
    assert audit(shop.client, LANE).clean


def test_an_operator_who_steers_meanwhile_is_not_overruled(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    fence(shop.client, LANE, REWOUND, "test")

    def steer() -> None:
        shop.client.hincrby(LANE.activity(1).state, "version", 1)

    # Before the plan is made it is a part of it, after that it is not.
    assert recover(shop.client, LANE, SOURCE, [0], "test", lambda line: steer()).lifted
    token = new_token()
    fence(shop.client, LANE, RECOVERING, "test", token=token)
    plan = make_plan(shop.client, LANE, SOURCE, [0])
    claim = claim_of_lane(plan.lane)
    steer()
    before = everything(shop.client)
    with pytest.raises(Refused, match="at the same time"):
        rebuild(shop.client, LANE, plan, claim, token)
    # Clicks and holds were counted, and nobody has taken them in.
    shop.client.delete(LANE.activity(1).new_clicks, LANE.activity(1).new_held)
    assert everything(shop.client) == before


def test_a_rebuilding_that_comes_late_finds_the_fence_of_another_one(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    first, second = new_token(), new_token()
    fence(shop.client, LANE, RECOVERING, "the first", token=first)
    plan = make_plan(shop.client, LANE, SOURCE, [0])
    fence(shop.client, LANE, RECOVERING, "the second", token=second, replace=True)
    before = everything(shop.client)
    with pytest.raises(Refused, match="at the same time"):
        rebuild(shop.client, LANE, plan, claim_of_lane(plan.lane), first)
    # Clicks and holds were counted, and nobody has taken them in.
    shop.client.delete(LANE.activity(1).new_clicks, LANE.activity(1).new_held)
    assert everything(shop.client) == before


def test_an_unclean_audit_keeps_the_fence(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1))
    shop.client.lpush(LANE.list, "no record")
    done = recover(shop.client, LANE, SOURCE, [0, 1], "test", shop.said.append)
    assert not done.lifted
    assert not done.report.clean
    verdict, first = read_last_audit(shop.client, LANE), done.report.findings[0]
    assert verdict is not None
    assert verdict.finding == f"{first.invariant}: {first.culprit}: {first.explanation}"[:500]
    assert read_lane(shop.client, LANE).fence is not None


def test_nothing_to_recover(shop: LostShop) -> None:
    shop.control.set_stock(1, {1001: 10})
    shop.buy(0, body(1))
    shop.buy(0, body(2), partition=1)
    assert not make_plan(shop.client, LANE, SOURCE, [0, 1]).needed
    assert Activity.objects.count() == 1


class TestWithoutKafkasWord:
    """The command, where Kafka does not know the topic or does not answer."""

    @pytest.fixture
    def flags(self, stack: Endpoints, pg_dsn: str) -> Iterator[list[str]]:
        """The flags that name the services, and a topic that nobody has."""
        known = dict(connections["default"].settings_dict)
        services = ["--redis-url", stack.redis_url, "--pg-dsn", pg_dsn, "--brokers", stack.brokers]
        yield [*services, "--topic", "nobody-has-this-topic"]
        connections["default"].settings_dict.clear()
        connections["default"].settings_dict.update(known)

    def test_it_is_refused_before_anything_is_fenced(
        self, shop: LostShop, flags: list[str]
    ) -> None:
        shop.control.set_stock(1, {1001: 10})
        before = everything(shop.client)
        with pytest.raises(CommandError, match=r"state of .*run it again") as refused:
            call_command("recover", "--apply", *flags)
        assert refused.value.returncode == exit_codes.UNREACHABLE
        assert everything(shop.client) == before
        assert not StockChange.objects.filter(act="recover").exists()

    def test_the_plan_is_shown_and_says_what_it_lacks(
        self, shop: LostShop, flags: list[str]
    ) -> None:
        shop.control.set_stock(1, {1001: 10})
        shop.buy(0, body(1))
        out = io.StringIO()
        call_command("recover", "--json", *flags, stdout=out)
        plan = json.loads(out.getvalue())
        assert [place["position"] for place in plan["partitions"]] == [1]
        assert "lacks partitions" in plan["notes"][-1]

    def test_kafka_that_is_away(self, shop: LostShop, manage: Manage) -> None:
        shop.control.set_stock(1, {1001: 10})
        before = everything(shop.client)
        commands = [
            manage("recover", *more, SECKILL_BROKERS="127.0.0.1:1") for more in ((), ("--apply",))
        ]
        plan, refused = (command.communicate(timeout=60)[0] for command in commands)
        assert [command.returncode for command in commands] == [0, exit_codes.UNREACHABLE]
        for said in (plan, refused):
            assert "Kafka is away" in said
            assert "mend that, then run it again" in said
        assert "lacks partitions" in plan
        assert "nothing was changed" in refused
        assert everything(shop.client) == before
