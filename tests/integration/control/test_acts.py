"""Top-up, pause, reopening, fields; and of every act: versions, repeats, lost replies."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis
from django.db import DatabaseError, connection, transaction

from seckill.control.acts import ACTS
from seckill.control.control import Act, Control, KeyReused, Once, SomebodyElse, UnderWay
from seckill.errors import NoSuchActivity, PostgresAway, RedisAway, Refused, VersionMoved
from seckill.formats.outcomes import MAX_UNITS
from seckill.lane.client import no_retry
from seckill.lane.fence import fence, lift, new_token
from seckill.lane.keys import CONTROL_CHANNEL, Lane
from seckill.models import Activity, Item, Record, StockChange
from seckill.recovery.rebuild import recover
from tests.helpers.sale import SOURCE, body, everything, holds_no_sale, load_scripts, only_reads
from tests.helpers.shop import LANE, Busy, Shop
from tests.helpers.storing import Lossy

# Each act on a loaded activity 1, as an operator would call it.
CALLS: dict[str, Callable[..., Act]] = {
    "set_stock": lambda control, **more: control.set_stock(1, {1001: 7}, **more),
    "add_stock": lambda control, **more: control.add_stock(1, {1001: 7}, **more),
    "pause": lambda control, **more: control.pause(1, **more),
    "resume": lambda control, **more: control.resume(1, **more),
    "finish_activity": lambda control, **more: control.finish(1, **more),
    "reopen": lambda control, **more: control.reopen(1, **more),
    "configure": lambda control, **more: control.configure_fields(1, user_limit=3, **more),
    "sync_from_db": lambda control, **more: control.sync_from_db(1, **more),
}
every_act = pytest.mark.parametrize("act", CALLS)


def state(shop: Shop) -> dict[str, str]:
    """The state of activity 1, as Redis has it."""
    found: dict[bytes, bytes] = shop.client.hgetall(LANE.activity(1).state)  # type: ignore[assignment]
    return {name.decode(): value.decode() for name, value in found.items()}


def lossy(shop: Shop) -> "Lossy":
    """A client whose next script is done, and whose answer is lost."""
    load_scripts(shop.client)
    client = Lossy.from_url(shop.redis_url, retry=no_retry())
    client.lose = "EVALSHA"
    return client


def beside_another(
    act: Callable[[], object], kind: type[Exception], limit_s: float
) -> list[Exception]:
    """How an act is refused, on a thread, while somebody else acts in activity 1."""
    refused: list[Exception] = []

    def second() -> None:
        try:
            act()
        except kind as busy:
            refused.append(busy)
        finally:
            connection.close()

    with transaction.atomic():
        Activity.objects.select_for_update().get(pk=1)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(limit_s)
        assert not thread.is_alive()
    return refused


class TestAddStock:
    def test_units_come_and_statistics_go_on(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3, 1002: 1})
        shop.buy(*[body(n) for n in range(1, 3)])
        act = shop.control.add_stock(1, {1001: 5, 1002: 2})
        assert (act.old, act.new) == ({"1001": 1, "1002": 1}, {"1001": 6, "1002": 3})
        assert (shop.item(1001), shop.item(1002)) == ((6, 8), (3, 3))
        assert shop.status().success == 2
        allocations = Item.objects.order_by("item_id").values_list("allocation", flat=True)
        assert list(allocations) == [8, 3]
        shop.clean()

    def test_what_was_sold_out_is_open_again(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 1})
        assert shop.buy(body(1), body(2)) == {"ACCEPTED": 1, "OVER": 1}
        shop.control.add_stock(1, {1001: 1})
        assert shop.status().over is None
        assert "over_at" not in state(shop)
        assert shop.buy(body(3)) == {"ACCEPTED": 1}
        shop.clean()

    def test_what_was_finished_stays_finished(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 1})
        shop.control.finish(1)
        shop.control.add_stock(1, {1001: 1})
        assert shop.status().over == "finished"
        assert shop.item() == (2, 2)
        assert shop.buy(body(1)) == {"OVER": 1}
        shop.clean()

    def test_while_the_sale_goes_on(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 20})
        with Busy(shop):
            for _ in range(20):
                shop.control.add_stock(1, {1001: 7})
        shop.store()
        left, loaded = shop.item()
        sold = sum(Record.objects.values_list("quantity", flat=True))
        assert (loaded, left + sold) == (160, 160)
        shop.clean()

    @pytest.mark.parametrize(
        ("wanted", "why"),
        [
            ({1001: 0}, "units are a whole number from 1"),
            ({1001: MAX_UNITS + 1}, "units are a whole number from 1"),
            ({}, "no item"),
            ({1001: 5, 1009: 5}, "1009 is not on sale"),
        ],
    )
    def test_what_cannot_be_is_refused(self, shop: Shop, wanted: dict[int, int], why: str) -> None:
        shop.control.set_stock(1, {1001: 3})
        before = everything(shop.client)
        with pytest.raises(Refused, match=why):
            shop.control.add_stock(1, wanted)
        assert everything(shop.client) == before
        assert Item.objects.get().allocation == 3

    def test_more_than_lua_counts_exactly_is_refused(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3})
        shop.client.hset(LANE.activity(1).loaded, "1001", 10**15)
        before = everything(shop.client)
        with pytest.raises(Refused, match="too high"):
            shop.control.add_stock(1, {1001: 1})
        assert everything(shop.client) == before


class TestPause:
    def test_held_and_let_go(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3})
        act = shop.control.pause(1)
        assert (act.old, act.new) == ({"paused": False}, {"paused": True})
        assert state(shop)["paused"] == "1"
        assert shop.buy(body(1)) == {"NOT_OPEN": 1}
        again = shop.control.pause(1)
        assert (again.old, again.version) == ({"paused": True}, act.version + 1)
        back = shop.control.resume(1)
        assert (back.old, back.new) == ({"paused": True}, {"paused": False})
        assert "paused" not in state(shop)
        assert shop.control.resume(1).old == {"paused": False}
        assert shop.buy(body(1)) == {"ACCEPTED": 1}
        shop.clean()

    def test_on_a_full_redis(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3})
        shop.client.config_set("maxmemory", 1)
        try:
            shop.control.pause(1)
            shop.control.resume(1)
            shop.control.finish(1)
            shop.control.reopen(1)
        finally:
            shop.client.config_set("maxmemory", 0)
        assert shop.buy(body(1)) == {"ACCEPTED": 1}


class TestReopen:
    def test_a_finished_sale(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 3})
        shop.buy(body(1))
        shop.control.finish(1)
        act = shop.control.reopen(1)
        assert (act.old, act.new) == ({"over": "finished"}, {"over": None})
        assert shop.status().success == 1
        assert shop.buy(body(2)) == {"ACCEPTED": 1}
        assert shop.control.reopen(1).old == {"over": None}
        shop.clean()

    def test_where_nothing_is_left_it_is_sold_out(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 1})
        shop.buy(body(1))
        shop.control.finish(1)
        act = shop.control.reopen(1)
        assert (act.old, act.new) == ({"over": "finished"}, {"over": "sold_out"})
        assert shop.buy(body(2)) == {"OVER": 1}
        shop.control.add_stock(1, {1001: 1})
        assert shop.buy(body(2)) == {"ACCEPTED": 1}
        shop.clean()


class TestFields:
    def test_only_the_given_ones_change(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 9})
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        shop.control.configure_fields(1, opens_at=now + hour, timeout_ms=60_000)
        assert shop.buy(body(1)) == {"NOT_OPEN": 1}
        act = shop.control.configure_fields(1, opens_at=None, name="Night")
        assert act.old == {"opens_at": round((now + hour).timestamp() * 1000), "name": ""}
        assert act.new == {"opens_at": None, "name": "Night"}
        row = Activity.objects.get()
        assert (row.opens_at, row.timeout_ms, row.name) == (None, 60_000, "Night")
        assert (shop.status().opens_at_ms, shop.status().timeout_ms) == (None, 60_000)
        shop.control.configure_fields(1, user_limit=1)
        assert shop.buy(body(1), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}
        shop.control.configure_fields(1, timeout_ms=None)
        assert shop.buy(body(1, at=0), body(2, at=0)) == {"LIMIT": 1, "ACCEPTED": 1}
        shop.clean()

    def test_what_is_not_loaded_gets_it_when_it_is(self, shop: Shop) -> None:
        act = shop.control.create(name="Later")
        assert (act.activity_id, act.version) == (1, 0)
        assert shop.control.configure_fields(1, user_limit=2).version == 0
        assert holds_no_sale(shop.client)
        shop.control.set_stock(1, {1001: 9})
        assert shop.buy(body(1, {1001: 2}), body(1)) == {"ACCEPTED": 1, "LIMIT": 1}

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({}, None),
            ({"colour": "red"}, "colour"),
            ({"user_limit": 0}, "user_limit"),
            ({"timeout_ms": 10**13}, "timeout_ms"),
            ({"opens_at": datetime(2026, 11, 11)}, "opens_at"),
            ({"name": "x" * 201}, "name"),
            ({"closes_at": datetime(2020, 1, 1, tzinfo=UTC)}, None),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, shop: Shop, fields: dict[str, Any], field: str | None
    ) -> None:
        shop.control.set_stock(1, {1001: 9})
        shop.control.configure_fields(1, opens_at=datetime(2021, 1, 1, tzinfo=UTC))
        before = everything(shop.client)
        with pytest.raises(Refused) as refused:
            shop.control.configure_fields(1, **fields)
        assert refused.value.field == field
        assert everything(shop.client) == before

    def test_a_number_is_given_once(self, shop: Shop) -> None:
        assert shop.control.create(7).activity_id == 7
        assert shop.control.create().activity_id == 8
        with pytest.raises(Refused, match="exists"):
            shop.control.create(7)
        assert Activity.objects.count() == 2


class TestVersions:
    @every_act
    def test_two_operators_at_once_and_the_second_is_asked_again(
        self, shop: Shop, act: str
    ) -> None:
        seen = shop.control.set_stock(1, {1001: 5}).version
        CALLS[act](shop.control, expected_version=seen)
        before, rows = everything(shop.client), list(Item.objects.values())
        with pytest.raises(VersionMoved) as moved:
            CALLS[act](Control(shop.client, "peter", Lane()), expected_version=seen)
        found = shop.status().version
        assert (moved.value.expected, moved.value.found) == (seen, found)
        assert found > seen
        assert (everything(shop.client), list(Item.objects.values())) == (before, rows)
        last = StockChange.objects.latest("id")
        assert (last.actor, last.state, last.version) == ("peter", "failed", None)
        CALLS[act](shop.control, expected_version=found)
        shop.clean()

    @every_act
    def test_the_script_itself_refuses_a_version_that_is_gone(self, shop: Shop, act: str) -> None:
        """Between the look at the version and the script, somebody else's script arrives."""
        seen = shop.control.set_stock(1, {1001: 5}).version

        class Overtaken(Lossy):
            """Has another script of the activity done just before its first one."""

            def evalsha(self, *args: Any, **options: Any) -> Any:
                if not self.lose and not only_reads(args):
                    self.lose = "done"
                    shop.client.hincrby(LANE.activity(1).state, "version", 1)
                    others.append(everything(shop.client))
                return super().evalsha(*args, **options)

        others: list[Any] = []
        client = Overtaken.from_url(shop.redis_url, retry=no_retry())
        with pytest.raises(VersionMoved):
            CALLS[act](Control(client, "olga", Lane()), expected_version=seen)
        assert everything(shop.client) == others[0]
        client.lose = ""
        CALLS[act](Control(client, "olga", Lane()))
        assert StockChange.objects.latest("id").version == shop.status().version
        client.close()

    def test_of_what_is_not_loaded_it_is_nought(self, shop: Shop) -> None:
        with pytest.raises(VersionMoved):
            shop.control.set_stock(1, {1001: 5}, expected_version=3)
        assert holds_no_sale(shop.client)
        assert shop.control.set_stock(1, {1001: 5}, expected_version=0).version == 1

    @every_act
    def test_operators_in_parallel_each_get_a_version_of_their_own(
        self, shop: Shop, act: str
    ) -> None:
        seen = shop.control.set_stock(1, {1001: 5}).version
        done, refused = [], []

        def steer() -> None:
            try:
                done.append(CALLS[act](shop.control, expected_version=seen))
            except VersionMoved as moved:
                refused.append(moved)
            finally:
                connection.close()

        threads = [threading.Thread(target=steer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert (len(done), len(refused)) == (1, 3)
        shop.clean()


def lose_redis(shop: Shop) -> None:
    """Empty it, and rebuild the lane."""
    shop.client.flushall()
    assert recover(shop.client, LANE, SOURCE, [0], "olga", print).lifted


@contextmanager
def fenced(shop: Shop) -> Iterator[None]:
    """The lane, for a while."""
    token = new_token()
    assert fence(shop.client, LANE, "TORN", "a test", token=token)
    yield
    assert lift(shop.client, LANE, token)


class TestAfterALossOfRedis:
    @pytest.mark.parametrize("held", ["pause", "finish_activity"])
    def test_what_operators_have_held_stays_held(self, shop: Shop, held: str) -> None:
        shop.control.set_stock(1, {1001: 5})
        last = CALLS[held](shop.control).version
        before = state(shop)
        lose_redis(shop)
        assert shop.status().version > last
        after = state(shop)
        assert (after.get("over"), after.get("paused")) == (
            before.get("over"), before.get("paused"),
        )  # fmt: skip
        for act_back in ("resume", "reopen"):
            CALLS[act_back](shop.control)
        lose_redis(shop)
        assert not {"over", "paused"} & set(state(shop))

    def test_a_version_that_was_seen_never_comes_again(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 5})
        seen = shop.control.pause(1).version
        lose_redis(shop)
        assert shop.control.set_stock(1, {1001: 5}).version > seen


class TestOnce:
    """An act that was given a name is done once."""

    def named(self, shop: Shop, content: str = "a", client: Any = None) -> Control:
        return Control(client or shop.client, "olga", Lane(), once=Once("key-1", content))

    @every_act
    def test_a_repeat_has_the_first_answer(self, shop: Shop, act: str) -> None:
        shop.control.set_stock(1, {1001: 5})
        first = CALLS[act](self.named(shop))
        CALLS["add_stock"](shop.control)
        before = everything(shop.client)
        again = CALLS[act](self.named(shop))
        assert (again.version, again.old, again.new, again.journal_id) == (
            first.version, first.old, first.new, first.journal_id,
        )  # fmt: skip
        assert (first.repeated, again.repeated) == (False, True)
        assert everything(shop.client) == before

    @every_act
    def test_a_repeat_after_a_lost_answer_does_it_once(self, shop: Shop, act: str) -> None:
        shop.control.set_stock(1, {1001: 5})
        shop.buy(body(1))
        client = lossy(shop)
        with pytest.raises(RedisAway):
            CALLS[act](self.named(shop, client=client))
        client.close()
        after = everything(shop.client)
        again = CALLS[act](self.named(shop))
        if act != "configure":
            # The first step of a first limit was lost, not the act itself: that is done now.
            assert again.repeated
            assert everything(shop.client) == after
        assert again.version == shop.status().version
        row = StockChange.objects.latest("id")
        assert (row.state, row.version, row.act) == ("applied", again.version, act)
        shop.clean()

    @every_act
    @pytest.mark.parametrize("done", [True, False])
    def test_a_repeat_that_is_refused_does_not_free_the_key(
        self, shop: Shop, act: str, done: bool
    ) -> None:
        """Nobody looks at Redis before the lane may be acted on. What was done was done twice."""
        shop.control.set_stock(1, {1001: 5})
        shop.buy(body(1))
        client = lossy(shop)
        if not done:
            client = Lossy.from_url("redis://127.0.0.1:1/0", retry=no_retry())
        with pytest.raises(RedisAway):
            CALLS[act](self.named(shop, client=client))
        client.close()
        with fenced(shop), pytest.raises(Refused, match="fenced"):
            CALLS[act](self.named(shop))
        assert StockChange.objects.latest("id").state == "started"
        before = everything(shop.client)
        again = CALLS[act](self.named(shop))
        if act != "configure":
            assert again.repeated == done
            assert (everything(shop.client) == before) == done
        assert StockChange.objects.filter(idempotency_key="key-1").count() == 1
        assert StockChange.objects.latest("id").state == "applied"
        shop.clean()

    @every_act
    def test_a_repeat_of_what_was_not_done_does_it(self, shop: Shop, act: str) -> None:
        shop.control.set_stock(1, {1001: 5})
        nobody = Lossy.from_url("redis://127.0.0.1:1/0", retry=no_retry())
        with pytest.raises(RedisAway):
            CALLS[act](self.named(shop, client=nobody))
        before = shop.status().version
        done = CALLS[act](self.named(shop))
        assert not done.repeated
        assert done.version > before
        shop.clean()

    def test_another_act_under_the_same_key_is_refused(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 5})
        self.named(shop).add_stock(1, {1001: 5})
        before = everything(shop.client)
        with pytest.raises(KeyReused) as refused:
            self.named(shop, "b").add_stock(1, {1001: 6})
        assert refused.value.field == "Idempotency-Key"
        assert everything(shop.client) == before
        # Keys are an actor's own.
        Control(shop.client, "peter", Lane(), once=Once("key-1", "b")).add_stock(1, {1001: 6})
        assert shop.item() == (16, 16)

    def test_a_repeat_while_the_first_is_under_way_is_refused(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 5})
        nobody = Lossy.from_url("redis://127.0.0.1:1/0", retry=no_retry())
        with pytest.raises(RedisAway):
            self.named(shop, client=nobody).add_stock(1, {1001: 5})
        refused = beside_another(lambda: self.named(shop).add_stock(1, {1001: 5}), UnderWay, 120)
        assert len(refused) == 1
        assert shop.item() == (5, 5)
        self.named(shop).add_stock(1, {1001: 5})
        assert shop.item() == (10, 10)

    def test_many_at_once_do_it_once(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 5})
        answers: list[Act | UnderWay] = []

        def act() -> None:
            try:
                answers.append(self.named(shop).add_stock(1, {1001: 5}))
            except UnderWay as busy:
                answers.append(busy)
            finally:
                connection.close()

        threads = [threading.Thread(target=act) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(answers) == 6
        done = [answer for answer in answers if isinstance(answer, Act)]
        assert sum(not answer.repeated for answer in done) <= 1
        assert len({answer.version for answer in done}) == 1
        assert shop.item() == (10, 10)
        shop.clean()

    @every_act
    def test_a_script_that_arrives_after_its_sender_gave_up_changes_nothing(
        self, shop: Shop, act: str
    ) -> None:
        """It waits in Redis's socket; the repeat is done, and then it comes."""
        shop.control.set_stock(1, {1001: 5})
        load_scripts(shop.client)
        late: list[tuple[Any, ...]] = []

        class Stalled(redis.Redis):
            """Keeps its scripts to itself, and gives up."""

            def evalsha(self, *args: Any, **options: Any) -> Any:
                if only_reads(args):
                    return super().evalsha(*args)
                late.append(args)
                raise redis.TimeoutError("no answer in time")

        client = Stalled.from_url(shop.redis_url, retry=no_retry())
        with pytest.raises(RedisAway):
            CALLS[act](self.named(shop, client=client))
        client.close()
        done = CALLS[act](self.named(shop))
        assert not done.repeated
        before = everything(shop.client)
        for arguments in late:
            shop.client.evalsha(*arguments)
        assert everything(shop.client) == before
        shop.clean()

    @every_act
    def test_a_script_that_arrives_just_before_the_repeat_is_the_act(
        self, shop: Shop, act: str
    ) -> None:
        """The repeat has looked, then the late script comes, then the repeat's own."""
        shop.control.set_stock(1, {1001: 5})
        load_scripts(shop.client)
        late: list[tuple[Any, ...]] = []

        class Stalled(redis.Redis):
            """Its first script arrives just before the second one."""

            def evalsha(self, *args: Any, **options: Any) -> Any:
                if only_reads(args):
                    return super().evalsha(*args)
                late.append(args)
                if len(late) == 1:
                    raise redis.TimeoutError("no answer in time")
                if len(late) == 2:
                    super().evalsha(*late[0])
                return super().evalsha(*args)

        client = Stalled.from_url(shop.redis_url, retry=no_retry())
        with pytest.raises(RedisAway):
            CALLS[act](self.named(shop, client=client))
        done = CALLS[act](self.named(shop, client=client))
        client.close()
        assert done.version == shop.status().version
        if act == "add_stock":
            assert shop.item() == (12, 12)
        if act != "configure":
            assert done.repeated
        shop.clean()

    def test_a_refused_call_frees_its_key(self, shop: Shop) -> None:
        shop.control.set_stock(1, {1001: 5})
        with pytest.raises(Refused, match="not on sale"):
            self.named(shop).add_stock(1, {1002: 5})
        shop.control.set_stock(1, {1002: 5})
        assert not self.named(shop).add_stock(1, {1002: 5}).repeated

    def test_an_activity_is_made_once(self, shop: Shop) -> None:
        first = self.named(shop).create(name="Night")
        again = self.named(shop).create(name="Night")
        assert (again.activity_id, again.repeated) == (first.activity_id, True)
        assert Activity.objects.count() == 1


def test_a_lost_answer_is_settled_by_the_next_act_of_anybody(shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 5})
    client = lossy(shop)
    with pytest.raises(RedisAway):
        Control(client, "olga", Lane()).add_stock(1, {1001: 5})
    client.close()
    lost = StockChange.objects.latest("id")
    assert (lost.state, Item.objects.get().allocation) == ("started", 5)
    Control(shop.client, "peter", Lane()).pause(1)
    lost.refresh_from_db()
    assert (lost.state, lost.version, Item.objects.get().allocation) == ("applied", 2, 10)
    shop.clean()


def test_postgresql_lost_after_the_script_is_settled_by_the_next_act(
    shop: Shop, pg_dsn: str
) -> None:
    """Redis has done it; the transaction that was to say so is gone with its connection."""
    shop.control.set_stock(1, {1001: 5})

    class Cutting(redis.Redis):
        """Ends PostgreSQL's connection of the act right after its script."""

        def execute_command(self, *args: Any, **options: Any) -> Any:
            answer = super().execute_command(*args, **options)
            if args[0] == "EVALSHA" and not only_reads(args):
                pid = connection.connection.info.backend_pid
                with psycopg.connect(pg_dsn, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [pid])
            return answer

    load_scripts(shop.client)
    client = Cutting.from_url(shop.redis_url, retry=no_retry())
    once = Once("key-1", "a")
    with pytest.raises(PostgresAway):
        Control(client, "olga", Lane(), once=once).add_stock(1, {1001: 5})
    client.close()
    connection.close()
    assert (shop.item(), Item.objects.get().allocation) == ((10, 10), 5)
    again = Control(shop.client, "olga", Lane(), once=once).add_stock(1, {1001: 5})
    assert (again.repeated, again.version) == (True, 2)
    assert (shop.item(), Item.objects.get().allocation) == ((10, 10), 10)
    shop.clean()


def test_a_database_that_refuses_after_the_script_is_settled_by_the_next_act(shop: Shop) -> None:
    """No outage: a statement that PostgreSQL will not have. The act holds all the same."""
    shop.control.set_stock(1, {1001: 5})
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON seckill_item"
            " EXECUTE FUNCTION refuse()"
        )
        once = Once("key-1", "a")
        try:
            with pytest.raises(DatabaseError, match="not today"):
                Control(shop.client, "olga", Lane(), once=once).add_stock(1, {1001: 5})
        finally:
            cursor.execute("DROP FUNCTION refuse CASCADE")
    lost = StockChange.objects.latest("id")
    assert (lost.state, "not today" in lost.detail, shop.item()) == ("started", True, (10, 10))
    shop.control.pause(1)
    lost.refresh_from_db()
    assert (lost.state, lost.version, Item.objects.get().allocation) == ("applied", 2, 10)
    assert Control(shop.client, "olga", Lane(), once=once).add_stock(1, {1001: 5}).repeated
    shop.clean()


def test_a_second_operator_is_told_that_somebody_acts(shop: Shop) -> None:
    shop.control.set_stock(1, {1001: 5})
    before = everything(shop.client)
    peter = Control(shop.client, "peter", Lane(), patience_s=0.1)
    refused = beside_another(lambda: peter.add_stock(1, {1001: 5}), SomebodyElse, 30)
    assert "somebody else is acting on activity 1" in str(refused[0])
    assert everything(shop.client) == before
    row = StockChange.objects.latest("id")
    assert (row.actor, row.state, Item.objects.get().allocation) == ("peter", "failed", 5)


class TestWhatIsRefusedMakesNothing:
    def test_an_activity_that_was_not_known(self, shop: Shop) -> None:
        with pytest.raises(VersionMoved):
            shop.control.set_stock(7, {1001: 5}, expected_version=3)
        assert not Activity.objects.exists()
        assert StockChange.objects.get().state == "failed"
        shop.control.set_stock(7, {1001: 5})
        with pytest.raises(VersionMoved):
            shop.control.set_stock(7, {1001: 5}, expected_version=3)
        assert Activity.objects.count() == 1

    def test_one_that_somebody_else_is_putting_on_sale(self, shop: Shop) -> None:
        StockChange.objects.create(actor="peter", act="set_stock", activity_id=7)
        with pytest.raises(VersionMoved):
            shop.control.set_stock(7, {1001: 5}, expected_version=3)
        assert Activity.objects.get().pk == 7

    def test_where_the_end_is_not_known_it_stays(self, shop: Shop) -> None:
        client = lossy(shop)
        with pytest.raises(RedisAway):
            Control(client, "olga", Lane()).set_stock(7, {1001: 5})
        client.close()
        assert Activity.objects.get().pk == 7


@every_act
def test_every_act_is_published_and_journalled_with_its_note(shop: Shop, act: str) -> None:
    shop.control.set_stock(1, {1001: 5})
    listener = shop.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(CONTROL_CHANNEL)
    while listener.get_message(timeout=60) is not None:
        pass
    done = CALLS[act](Control(shop.client, "key:till", Lane(), note="the boss called"))
    heard: dict[str, Any] = {}
    while heard.get("version") != done.version:
        message = listener.get_message(timeout=60)
        assert message is not None
        heard = json.loads(message["data"])
    listener.close()
    assert (heard["cmd"], heard["activity_id"], heard["actor"]) == (act, 1, "key:till")
    row = StockChange.objects.get(pk=done.journal_id)
    assert (row.actor, row.act, row.version, row.note) == (
        "key:till", act, done.version, "the boss called",
    )  # fmt: skip
    assert (row.old, row.new) == (done.old, done.new)


@every_act
def test_an_activity_that_is_not_known_or_not_loaded(shop: Shop, act: str) -> None:
    if act == "set_stock":
        return
    with pytest.raises(NoSuchActivity):
        CALLS[act](shop.control)
    assert not StockChange.objects.exists()


def test_the_names_of_the_acts() -> None:
    # Those of a split sale are in tests/integration/lanes/test_split.py.
    assert set(ACTS) == {*CALLS, "create_activity", "split_activity", "take_stock"}
