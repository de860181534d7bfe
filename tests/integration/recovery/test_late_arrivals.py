"""What arrives late: a batch that was read before a loss, a lift, a fence, an act on a fenced lane.

Redis is emptied, or comes back older; the lane is rebuilt; then somebody who knows nothing of it
goes on where he was. Each ends in the audit, with no unit sold twice.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.audit.checks import NEVER_LOST, NEVER_OVERSOLD
from seckill.consumer.engine import Status
from seckill.consumer.guard import Guard
from seckill.control.control import Control
from seckill.dead_letters.records import Kind
from seckill.errors import Fenced, PostgresAway
from seckill.lane.fence import REWOUND, fence
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import DeadRecord, Item, Record
from seckill.models import Lane as LaneRow
from seckill.postgres import lease
from seckill.postgres.lease import Claim, LaneLost, NotLeading, RedisOlder
from seckill.process.shutdown import Shutdown
from tests.helpers.recovering import LostShop, set_back, snapshot
from tests.helpers.sale import SOURCE, body, everything

LANE = Lane()


@pytest.fixture
def shop(stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str) -> Iterator[LostShop]:
    """A hundred units of one item."""
    shop = LostShop(redis_client, stack.redis_url, pg_dsn)
    shop.control.set_stock(1, {1001: 100})
    yield shop
    shop.engine.close()
    shop.storage.close()


class TestLateStore:
    def test_a_batch_that_was_read_before_a_recovery_is_not_stored_after_it(
        self, shop: LostShop, pg_dsn: str
    ) -> None:
        """Its units are sold to others by then: 150 rows of 100 units, and every audit clean."""
        shop.buy(0, *[body(n) for n in range(1, 51)])
        late = LogWorker(shop.client, Storage(pg_dsn), Shutdown())
        batch = late._read(0)
        assert len(batch.entries) == 50
        shop.client.flushall()
        shop.recover()
        bought = shop.buy(0, *[body(100 + n) for n in range(100)], partition=1, generation=1)
        assert bought.outcomes.count(b"0") == 100
        shop.store()
        with pytest.raises(RedisOlder):
            late._store(batch)
        late.storage.close()
        assert Record.objects.count() == 100
        report = audit(shop.client, LANE)
        assert report.clean, report.findings

    def test_in_a_transaction_that_is_open_it_is_waited_for(
        self, shop: LostShop, pg_dsn: str
    ) -> None:
        """See test_a_batch_that_is_being_stored_at_the_loss_counts: here the row's lock itself."""
        shop.buy(0, body(1))
        shop.store()
        with connection.cursor() as cursor:
            cursor.execute("SELECT generation FROM seckill_lane")
            assert cursor.fetchall() == [(0,)]
        shop.client.flushall()
        shop.recover()
        assert LaneRow.objects.get().generation == 1
        assert read_lane(shop.client, LANE).generation == 1

    def test_the_worker_itself_goes_on(self, shop: LostShop) -> None:
        """Its read-ahead is of before: it reads again, and stores what the lane has now."""
        shop.worker.batch_size = 5
        shop.buy(0, *[body(n) for n in range(1, 16)])
        assert shop.worker.run_once() == 5
        assert shop.worker._ahead is not None
        shop.client.flushall()
        shop.recover()
        # What it holds was never stored: it is decided again, and sold to whoever comes first now.
        shop.buy(5, *[body(100 + n) for n in range(95)], generation=1)
        with pytest.raises(RedisOlder):
            shop.worker.run_once()
        shop.store()
        assert Record.objects.count() == 100
        report = audit(shop.client, LANE)
        assert report.clean, report.findings


class TestFencedLane:
    @pytest.mark.parametrize(
        "act",
        [
            lambda c: c.set_stock(1, {1001: 5}),
            lambda c: c.add_stock(1, {1001: 1}),
            lambda c: c.pause(1),
            lambda c: c.resume(1),
            lambda c: c.finish(1),
            lambda c: c.reopen(1),
            lambda c: c.configure_fields(1, user_limit=1),
            lambda c: c.sync_from_db(1),
            lambda c: c.set_stock(2, {7: 5}),
        ],
        ids=["set", "add", "pause", "resume", "finish", "reopen", "configure", "sync", "another"],
    )
    def test_no_act_changes_it(self, shop: LostShop, act: Callable[[Control], Any]) -> None:
        """An older Redis would give its stock to PostgreSQL, and the recovery would believe it."""
        shop.buy(0, *[body(n) for n in range(1, 41)])
        copy = snapshot(shop.client)
        shop.buy(40, *[body(n) for n in range(41, 61)])
        shop.store()
        set_back(shop.client, copy)
        fence(shop.client, LANE, REWOUND, "test")
        before, items = everything(shop.client), list(Item.objects.values_list())
        with pytest.raises(Fenced, match=r"fenced.*REWOUND.*recover"):
            act(shop.control)
        assert everything(shop.client) == before
        assert list(Item.objects.values_list()) == items
        shop.recover()
        assert shop.left() == {1001: 40}

    def test_an_older_redis_refuses_acts_before_it_is_fenced(self, shop: LostShop) -> None:
        """No consumer has looked yet: the act compares by itself."""
        shop.buy(0, body(1))
        copy = snapshot(shop.client)
        shop.buy(1, body(2))
        shop.store()
        set_back(shop.client, copy)
        with pytest.raises(Fenced, match=r"older.*partition 0 stands at 1.*stored up to 2"):
            shop.control.add_stock(1, {1001: 1})
        assert shop.left() == {1001: 99}


ACTS: dict[str, Callable[[Control], Any]] = {
    "finish": lambda c: c.finish(1),
    "pause": lambda c: c.pause(1),
    "limit": lambda c: c.configure_fields(1, user_limit=1),
    "closing time": lambda c: c.configure_fields(1, closes_at=moment(0)),
    "stock": lambda c: c.set_stock(1, {1001: 5}),
}


def moment(ms: int) -> datetime:
    """A time a second after so many ms of 1970."""
    return datetime.fromtimestamp(ms / 1000 + 1, UTC)


class TestLostActs:
    """Redis comes back without an operator's act, and nothing was sold in between."""

    def guard(self, shop: LostShop, pg_dsn: str) -> str:
        """Why the lane is fenced after a consumer's new connection; "" it is not."""
        guard = Guard(shop.client, LANE, pg_dsn, lambda: SOURCE, dict, "test")
        guard.admit(shop.client.info("server")["run_id"])
        guard.close()
        found = read_lane(shop.client, LANE).fence
        return found.why if found else ""

    @pytest.mark.parametrize("name", ACTS)
    def test_the_guard_finds_it(self, shop: LostShop, pg_dsn: str, name: str) -> None:
        assert self.guard(shop, pg_dsn) == ""
        copy = snapshot(shop.client)
        ACTS[name](shop.control)
        assert self.guard(shop, pg_dsn) == ""
        set_back(shop.client, copy)
        assert "the journal has acts up to version" in self.guard(shop, pg_dsn)

    @pytest.mark.parametrize("name", ACTS)
    def test_the_audit_finds_it_and_its_advice_brings_it_back(
        self, shop: LostShop, name: str
    ) -> None:
        copy = snapshot(shop.client)
        ACTS[name](shop.control)
        set_back(shop.client, copy)
        report = audit(shop.client, LANE)
        assert not report.clean
        acts = [f for f in report.findings if f.culprit == "an operator's act"]
        assert "manage.py recover" in acts[0].act
        shop.recover()
        status = read_lane(shop.client, LANE).activities[1]
        assert {
            "finish": status.over == "finished",
            "pause": status.paused,
            "limit": status.user_limit == 1,
            "closing time": status.closes_at_ms is not None,
            "stock": status.items[1001].left == 5,
        }[name]

    @pytest.mark.parametrize("field", ["paused", "user_limit", "closes_at", "timeout", "over"])
    def test_a_field_that_was_lost_alone(self, shop: LostShop, pg_dsn: str, field: str) -> None:
        """The version is the same: somebody has changed the hash by hand, or restored a part."""
        shop.control.configure_fields(1, user_limit=5, closes_at=moment(2**42), timeout_ms=99)
        shop.control.pause(1)
        shop.control.finish(1)
        assert audit(shop.client, LANE).clean
        shop.client.hdel(LANE.activity(1).state, field)
        assert not audit(shop.client, LANE).clean
        assert "is none in Redis" in self.guard(shop, pg_dsn) or "is false in Redis" in (
            read_lane(shop.client, LANE).fence.why  # type: ignore[union-attr]
        )

    def test_an_activity_that_is_gone(self, shop: LostShop, pg_dsn: str) -> None:
        shop.control.set_stock(2, {7: 5})
        shop.client.srem(LANE.activities, "2")
        assert "activity 2 was put on sale" in self.guard(shop, pg_dsn)


class TestParkedOrders:
    """A record that PostgreSQL refuses is an accepted order: it outlives Redis."""

    def refuse(self, shop: LostShop) -> None:
        """Two orders, the first of which PostgreSQL refuses."""
        shop.buy(0, body(1), body(2))
        newest, oldest = shop.client.lrange(LANE.list, 0, -1)
        shop.client.delete(LANE.list)
        shop.client.rpush(LANE.list, newest, oldest.replace(b'"success"', b'"a\\u0000b"'))

    def test_its_unit_is_not_sold_again(self, shop: LostShop) -> None:
        self.refuse(shop)
        shop.store()
        assert (Record.objects.count(), DeadRecord.objects.count()) == (1, 1)
        shop.client.flushall()
        shop.recover()
        assert shop.left() == {1001: 98}
        lane = read_lane(shop.client, LANE)
        # It does not count as decided without an order.
        assert (lane.recovered, lane.activities[1].total_outcomes[1]) == (0, 2)  # type: ignore[index]
        assert audit(shop.client, LANE).records_dead == 1

    def test_stored_and_parked_in_one_transaction(self, shop: LostShop, pg_dsn: str) -> None:
        """Cut off after the row of the second: the first one would be lost with Redis."""
        self.refuse(shop)

        class Cut(Exception):
            pass

        class Cutting(LogWorker):
            def _trim(self, batch: Any, result: Any) -> bool:
                raise Cut

        worker = Cutting(shop.client, Storage(pg_dsn), Shutdown())
        with pytest.raises(Cut):
            worker.run_once()
        worker.storage.close()
        shop.client.flushall()
        shop.recover()
        assert shop.left() == {1001: 98}

    def test_the_list_of_earlier_versions_is_moved(self, shop: LostShop) -> None:
        shop.buy(0, body(1))
        record: bytes = shop.client.rpop(LANE.list)  # type: ignore[assignment]
        letters = [b'{"reason":"old","record":%s}' % _quoted(record), b"no letter"]
        shop.client.lpush(LANE.dead, *letters)
        shop.worker.run(drain=True)
        assert not shop.client.exists(LANE.dead)
        kinds = DeadRecord.objects.order_by("id").values_list("kind", "reason")
        assert [kind for kind, _ in kinds] == ["refused", "unreadable"]
        assert audit(shop.client, LANE).units_sold == 1


def _quoted(raw: bytes) -> bytes:
    return json.dumps(raw.decode()).encode()


class TestFutureRows:
    """A row at an offset that nobody has decided: restored by hand, or by another lane."""

    def test_it_is_a_finding_and_the_real_order_is_kept(self, shop: LostShop) -> None:
        Record.objects.create(
            user_id=9, activity_id=1, item_id=1001, quantity=50, cost_ms=1, status="success",
            ts="2026-01-01T00:00:00Z", source=SOURCE, partition=0, offset=3, version=1,
        )  # fmt: skip
        Item.objects.update(sold=50)
        shop.buy(0, body(1))
        shop.store()
        report = audit(shop.client, LANE)
        assert any("have not decided" in f.explanation or "not decided" in f.explanation
                   for f in report.findings)  # fmt: skip
        # Then its offset is decided: the order is not what is stored under its identity.
        shop.buy(1, body(2), body(3), body(4))
        shop.store()
        [dead] = DeadRecord.objects.all()
        assert (dead.user_id, dead.offset) == (4, 3)
        assert "another order is stored under its identity: user 9" in dead.reason
        assert not audit(shop.client, LANE).clean


class TestForeignRecords:
    def test_thousands_of_the_original_programs_do_not_stop_ours(self, shop: LostShop) -> None:
        """They have no identity. Each was a batch of its own: 2.6 of ours a second."""
        foreign = (
            b'{"user_id":1,"activity_id":1,"item_id":1001,"quantity":1,"cost_ms":1,'
            b'"status":"success","timestamp":1795448539}'
        )
        for _ in range(3):
            shop.client.lpush(LANE.list, *[foreign] * 1000)
        shop.buy(0, *[body(n) for n in range(1, 11)])
        shop.client.lpush(LANE.list, *[foreign] * 1000)
        shop.worker.batch_size = 1000
        turns = 0
        while shop.worker.run_once():
            turns += 1
        assert turns == 5
        assert Record.objects.count() == 10
        assert DeadRecord.objects.filter(kind=Kind.UNREADABLE).count() == 4000
        assert read_lane(shop.client, LANE).dead == 4000
        findings = audit(shop.client, LANE).findings
        assert {f.invariant for f in findings} == {NEVER_LOST}

    def test_read_twice_they_are_kept_once(self, shop: LostShop, pg_dsn: str) -> None:
        """The answer to the trim was lost."""
        shop.client.lpush(LANE.list, "junk", "junk")

        class Twice(LogWorker):
            def _trim(self, batch: Any, result: Any) -> bool:
                return False

        worker = Twice(shop.client, Storage(pg_dsn), Shutdown())
        worker.run_once()
        worker.run_once()
        worker.storage.close()
        assert DeadRecord.objects.count() == 2
        shop.store()
        assert DeadRecord.objects.count() == 2
        # Others that look alike, later, are others.
        shop.client.lpush(LANE.list, "junk")
        shop.store()
        assert DeadRecord.objects.count() == 3


class TestLease:
    """Which Redis leads a lane, as PostgreSQL counts it. One connection a holder, as in life."""

    def lead(self, run_id: str, claim: Claim, holder: str = "", lease_s: float = 60) -> Claim:
        with connection.cursor() as cursor:
            return lease.lead(cursor, LANE.list, run_id, claim, holder=holder, lease_s=lease_s)

    @pytest.mark.django_db(transaction=True)
    def test_terms_and_leases(self) -> None:
        first = self.lead("one", Claim(), "a")
        assert (first.generation, first.term) == (0, 1)
        assert self.lead("one", first, "a") == first
        assert self.lead("one", first, "b") == first
        # Nobody takes over while somebody may decide on the one before.
        with pytest.raises(NotLeading, match="decide on it; their leases last"):
            self.lead("two", first, "c")
        with pytest.raises(NotLeading):
            self.lead("two", first)
        # Who has moved holds no lease there any more.
        with connection.cursor() as cursor:
            lease.give_up(cursor, "b")
        second = self.lead("two", first, "a")
        assert second.term == 2
        with pytest.raises(NotLeading):
            self.lead("one", first, "d")

    @pytest.mark.django_db(transaction=True)
    def test_a_lease_ends(self) -> None:
        first = self.lead("one", Claim(), "a", lease_s=0)
        assert self.lead("two", first, "b").term == 2

    @pytest.mark.django_db(transaction=True)
    def test_a_lost_lane_is_led_by_a_recovery_alone(self) -> None:
        Record.objects.create(
            user_id=9, activity_id=1, item_id=1001, quantity=1, cost_ms=1, status="success",
            ts="2026-01-01T00:00:00Z", source=SOURCE, partition=0, offset=3, version=1,
        )  # fmt: skip
        first = self.lead("one", Claim())
        with pytest.raises(LaneLost):
            self.lead("two", Claim(empty=True))
        with connection.cursor() as cursor:
            found = lease.lead(cursor, LANE.list, "two", Claim(empty=True), repairing=True)
        assert (found.identity, found.term) == (first.identity, 2)


class TestTwoRedisOnePostgres:
    """A second Redis on the same PostgreSQL: another lane's activities must never be loaded
    there.
    """

    @pytest.fixture
    def other(self, shop: LostShop, stack: Endpoints) -> Iterator["redis.Redis"]:
        """Another database of the same server is another Redis, as far as keys are concerned."""
        other = redis.Redis.from_url(stack.redis_url.rpartition("/")[0] + "/5")
        other.flushdb()
        yield other
        other.flushdb()
        other.close()

    def test_it_is_refused_everywhere(
        self, shop: LostShop, other: "redis.Redis", pg_dsn: str
    ) -> None:
        shop.buy(0, body(1))
        shop.store()
        control = Control(other, "olga", LANE)
        for act in (
            lambda: control.set_stock(2, {7: 100}),
            lambda: control.sync_from_db(1),
        ):
            with pytest.raises(Fenced, match="PostgreSQL knows the lane"):
                act()
        # Not empty: of another lane, with an identity of its own.
        for key in shop.client.scan_iter():
            other.restore(key, 0, shop.client.dump(key))  # type: ignore[arg-type]
        other.hset(LANE.state, "identity", "00000000-0000-4000-8000-000000000001")
        with pytest.raises(Fenced, match="holds another lane"):
            control.sync_from_db(1)
        findings = audit(other, LANE).findings
        assert [f.culprit for f in findings] == ["the lane"]
        assert "holds another lane" in findings[0].explanation
        storage = Storage(pg_dsn)
        other.lpush(LANE.list, b"any")
        with pytest.raises(Exception, match="holds another lane"):
            LogWorker(other, storage, Shutdown()).run_once()
        storage.close()
        guard = Guard(other, LANE, pg_dsn, lambda: SOURCE, dict, "test")
        with pytest.raises(Exception, match="holds another lane"):
            guard.admit(other.info("server")["run_id"])
        guard.close()
        assert read_lane(other, LANE).fence is None


def test_an_oversold_lane_stays_fenced(shop: LostShop) -> None:
    """Rows above the allocation: a finding of the audit too, where Redis knows nothing of them."""
    shop.buy(0, *[body(n) for n in range(1, 61)])
    shop.store()
    Item.objects.update(allocation=50)
    found = [
        f for f in audit(shop.client, LANE).findings if "sold above the allocation" in f.explanation
    ]
    assert [f.invariant for f in found] == [NEVER_OVERSOLD]


def test_positions_of_a_partition_alone(shop: LostShop) -> None:
    """The hash of positions was deleted by hand: nobody decides from the start again."""
    shop.buy(0, body(1))
    shop.client.delete(LANE.positions)
    assert position_field(SOURCE, 0) not in read_lane(shop.client, LANE).positions
    assert not audit(shop.client, LANE).clean
    reply = shop.buy(1, body(2))
    assert (reply.status, read_lane(shop.client, LANE).fence.word) == (Status.REWOUND, REWOUND)  # type: ignore[union-attr]


def test_a_wrong_database_is_no_answer(shop: LostShop, pg_dsn: str) -> None:
    """The lane is not known there: records wait, and nothing is trimmed."""
    shop.buy(0, body(1))
    LaneRow.objects.all().delete()
    with pytest.raises(PostgresAway, match="does not know lane"):
        shop.store()
    assert shop.client.llen(LANE.list) == 1
