"""settle_batch.lua on the real server: every row of its table, once, all or nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine, Status
from seckill.errors import RedisRefuses
from seckill.formats.outcomes import MAX_ID
from seckill.lane import board
from seckill.lane.fence import RECOVERING, fence
from seckill.lane.holds import SettleBatch, SettleStatus, settle_batch
from seckill.lane.keys import BOARD_STRING, CONTROL_CHANNEL, Lane, position_field
from tests.conftest import wait_until
from tests.helpers.blocks import holds_of
from tests.helpers.sale import (
    SOURCE,
    batch,
    body,
    buyers_of,
    everything,
    put_on_sale,
    stock,
    waiting,
)
from tests.helpers.settling import (
    SETTLE_SOURCE,
    cancelled,
    expire,
    make_due,
    paid,
    redis_ms,
    send,
    settle,
)

LANE = Lane()
KEYS = LANE.activity(1)
BOARD = LANE.board(SOURCE, 0, 0)


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


def buy(engine: Engine, *values: bytes, start: int = 0, partition: int = 0) -> bytes:
    """The outcomes of one batch that must be decided."""
    reply = engine.decide([batch(values, start, partition=partition)])[0]
    assert reply.status is Status.DECIDED
    return reply.outcomes


def counted(client: "redis.Redis", key: str, *fields: str) -> list[int]:
    """Counters of a hash."""
    return [int(value or 0) for value in client.hmget(key, list(fields))]  # type: ignore[union-attr]


def settled(client: "redis.Redis") -> list[dict[str, Any]]:
    """The records of settlements, the oldest first."""
    return [record for record in waiting(client) if record["status"] != "success"]


def epoch(client: "redis.Redis") -> int:
    """The activity's epoch."""
    return int(client.hget(KEYS.state, "epoch") or 0)  # type: ignore[arg-type]


class TestDeciding:
    def test_an_accepted_request_is_held(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 9, 1002: 9}, hold_s=60)
        before = redis_ms(redis_client)
        assert buy(engine, body(7, {1001: 2, 1002: 1}), b"bad", body(8, {9999: 1})) == b"086"
        after = redis_ms(redis_client)
        block = f"{SOURCE}:0:0"
        due = int(redis_client.zscore(KEYS.due, block) or 0)
        assert before + 60_000 <= due <= after + 60_000
        assert redis_client.hgetall(KEYS.held) == {block.encode(): b";0|%d|7|1001:2|1002:1" % due}
        assert redis_client.hget(KEYS.stats, "held") == b"1"
        records = waiting(redis_client)
        assert [(record["status"], record["due"]) for record in records] == [("success", due)] * 2
        assert list(records[0])[-2:] == ["due", "version"]

    def test_without_hold_s_nothing_is_held(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 9})
        assert buy(engine, body(7)) == b"0"
        assert not redis_client.exists(KEYS.held, KEYS.due)
        assert "due" not in waiting(redis_client)[0]

    def test_a_change_holds_for_new_decisions_only(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 9}, hold_s=60)
        buy(engine, body(1))
        redis_client.hset(KEYS.state, "hold_s", 5)
        buy(engine, body(2), start=1)
        redis_client.hdel(KEYS.state, "hold_s")
        buy(engine, body(3), start=2)
        first, second = (hold.due_ms for hold in holds_of(redis_client).values())
        # The shorter hold is due first, though it came later: its block is, too.
        assert second < first
        assert settle(redis_client, paid(0, 1), paid(1, 2), paid(2, 3)) == [
            "PAID", "PAID", "NOT_HELD",
        ]  # fmt: skip

    def test_a_block_that_two_batches_fill_keeps_the_holds_of_both(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 99}, hold_s=60)
        buy(engine, *(body(n) for n in range(1, 6)))
        # The second batch goes on in the first block, the third in the second one.
        buy(engine, *(body(n) for n in range(6, 21)), start=5)
        buy(engine, *(body(n) for n in range(21, 41)), start=20)
        held = {hold.place.offset: hold.user_id for hold in holds_of(redis_client).values()}
        assert held == {n - 1: n for n in range(1, 41)}
        assert redis_client.hlen(KEYS.held) == 3

    def test_more_holds_than_lua_unpacks(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 20_000}, hold_s=60)
        buy(engine, *(body(n) for n in range(1, 9_001)))
        assert len(holds_of(redis_client)) == 9_000
        messages = [paid(n - 1, n) for n in range(1, 9_001)]
        assert settle(redis_client, *messages) == ["PAID"] * 9_000
        assert not redis_client.exists(KEYS.held, KEYS.due)
        assert redis_client.get(BOARD) == b"P" * 9_000


class TestTable:
    """Each row of the table in the script's head."""

    @pytest.fixture(autouse=True)
    def _sale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 10, 1002: 10}, hold_s=60, user_limit=5)
        buy(engine, body(1, {1001: 2, 1002: 1}), body(2), body(3, {9999: 1}), body(4))

    def test_held_and_paid(self, redis_client: "redis.Redis") -> None:
        before = redis_ms(redis_client) // 1000
        assert settle(redis_client, paid(0, reference='pi_"1"')) == ["PAID"]
        assert redis_client.get(BOARD) == b"P060"
        assert stock(redis_client) == {1001: 6, 1002: 9}
        assert list(holds_of(redis_client)) == [f"{SOURCE}:0:1", f"{SOURCE}:0:3"]
        records = settled(redis_client)
        for record in records:
            assert before <= record.pop("timestamp") <= redis_ms(redis_client) // 1000
        common = {
            "user_id": 1, "activity_id": 1, "cost_ms": 0, "status": "paid", "source": SOURCE,
            "partition": 0, "offset": 0, "settled_by": [SETTLE_SOURCE, 0, 0],
            "reference": 'pi_"1"', "version": 1,
        }  # fmt: skip
        assert records == [
            {**common, "item_id": 1001, "quantity": 2}, {**common, "item_id": 1002, "quantity": 1},
        ]  # fmt: skip
        assert counted(redis_client, KEYS.stats, "paid", "units_paid", "units_returned") == [
            1, 3, 0,
        ]  # fmt: skip
        assert redis_client.hgetall(LANE.settle_stats) == {b"paid": b"1"}
        assert buyers_of(redis_client)[1] == 3

    def test_the_originals_seven_members_come_first(self, redis_client: "redis.Redis") -> None:
        settle(redis_client, paid(1, 2))
        assert list(settled(redis_client)[0]) == [
            "user_id", "activity_id", "item_id", "quantity", "cost_ms", "status", "timestamp",
            "source", "partition", "offset", "settled_by", "version",
        ]  # fmt: skip

    def test_held_and_released(self, redis_client: "redis.Redis") -> None:
        assert settle(redis_client, cancelled(0, reference="no card")) == ["RELEASED"]
        assert redis_client.get(BOARD) == b"C060"
        assert stock(redis_client) == {1001: 8, 1002: 10}
        assert [(r["status"], r["item_id"], r["quantity"]) for r in settled(redis_client)] == [
            ("cancelled", 1001, 2), ("cancelled", 1002, 1),
        ]  # fmt: skip
        assert settled(redis_client)[0]["reference"] == "no card"
        fields = ("cancelled", "units_returned", "paid")
        assert counted(redis_client, KEYS.stats, *fields) == [1, 3, 0]
        assert redis_client.hgetall(LANE.settle_stats) == {b"released": b"1"}
        # The limit is the user's again, whole.
        assert buyers_of(redis_client) == {2: 1, 4: 1}

    def test_the_request_is_not_decided(self, redis_client: "redis.Redis") -> None:
        """Nothing is written: the partition of the settle topic stands still."""
        before = everything(redis_client)
        for message in (paid(4), cancelled(4), paid(0, partition=1)):
            reply = send(redis_client, message, paid(1, 2))
            assert (reply.status, reply.position) == (SettleStatus.DECIDED, 0)
            assert (reply.outcomes, reply.waiting) == (b"W", True)
        assert everything(redis_client) == before

    def test_the_request_is_lost(self, redis_client: "redis.Redis") -> None:
        messages = [paid(4, lost=True), cancelled(4, lost=True), paid(0, source="x", lost=True)]
        assert settle(redis_client, *messages) == ["NOT_HELD"] * 3
        assert redis_client.hgetall(LANE.settle_stats) == {b"not_held": b"3"}

    def test_lost_or_not_what_is_decided_is_decided(self, redis_client: "redis.Redis") -> None:
        assert settle(redis_client, paid(0, lost=True)) == ["PAID"]
        assert settle(redis_client, paid(0, lost=True), start=1) == ["REPEATED"]

    def test_paid_before(self, redis_client: "redis.Redis") -> None:
        settle(redis_client, paid(0))
        before = waiting(redis_client)
        assert settle(redis_client, paid(0), cancelled(0), start=1) == ["REPEATED", "TOO_LATE"]
        # No money: no entry.
        assert waiting(redis_client) == before
        assert counted(redis_client, KEYS.stats, "paid", "too_late") == [1, 0]
        assert redis_client.get(BOARD) == b"P060"

    @pytest.mark.parametrize("way", ["cancelled", "expired"])
    def test_released_before(self, redis_client: "redis.Redis", way: str) -> None:
        start = 0
        if way == "cancelled":
            settle(redis_client, cancelled(0))
            start = 1
        else:
            make_due(redis_client, 0)
            assert expire(redis_client).expired == 1
        left, board = stock(redis_client), redis_client.get(BOARD)
        messages = [paid(0, reference="pi_1"), cancelled(0)]
        assert settle(redis_client, *messages, start=start) == ["TOO_LATE", "REPEATED"]
        late = settled(redis_client)[-1]
        assert late.pop("timestamp") > 0
        assert late == {
            "user_id": 1, "activity_id": 1, "item_id": 0, "quantity": 0, "cost_ms": 0,
            "status": "too_late", "source": SOURCE, "partition": 0, "offset": 0,
            "settled_by": [SETTLE_SOURCE, 0, start], "reference": "pi_1", "version": 1,
        }  # fmt: skip
        assert (stock(redis_client), redis_client.get(BOARD)) == (left, board)
        assert counted(redis_client, KEYS.stats, "too_late", "paid") == [1, 0]

    def test_anything_else_is_not_held(self, redis_client: "redis.Redis") -> None:
        before = stock(redis_client), waiting(redis_client), redis_client.get(BOARD)
        assert settle(
            redis_client,
            paid(2, 3), cancelled(2, 3),  # refused
            paid(0, user=9), cancelled(0, user=9),  # another's
            paid(0, activity=2), paid(2, activity=MAX_ID),  # not on sale
        ) == ["NOT_HELD"] * 6  # fmt: skip
        assert (stock(redis_client), waiting(redis_client), redis_client.get(BOARD)) == before

    def test_a_body_that_is_no_settlement(self, redis_client: "redis.Redis") -> None:
        assert settle(redis_client, None, paid(0), None) == ["INVALID", "PAID", "INVALID"]
        assert redis_client.hgetall(LANE.settle_stats) == {b"invalid": b"2", b"paid": b"1"}
        assert settled(redis_client)[0]["settled_by"] == [SETTLE_SOURCE, 0, 1]


def test_whoever_reads_the_board_sees_a_settled_hold_as_an_order(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 10}, hold_s=60)
    buy(engine, body(1), b"bad", body(2), body(3), body(4), body(5, {9: 1}))
    settle(redis_client, paid(0), cancelled(2, 2))
    make_due(redis_client, 3)
    expire(redis_client)
    assert redis_client.get(BOARD) == b"P8CX06"
    assert list(board.accepted(redis_client, LANE, SOURCE, 0, 6)) == [0, 2, 3, 4]
    assert list(board.accepted(redis_client, LANE, SOURCE, 0, 3)) == [0, 2]


class TestWithinABatch:
    @pytest.fixture(autouse=True)
    def _sale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 10}, hold_s=60)
        put_on_sale(redis_client, {1001: 10}, activity=2, hold_s=60)
        buy(engine, body(1), body(2), body(3), body(4, activity_id=2))

    def test_the_same_hold_twice(self, redis_client: "redis.Redis") -> None:
        messages = [paid(0), paid(0), cancelled(0), cancelled(1, 2), paid(1, 2), cancelled(1, 2)]
        assert settle(redis_client, *messages) == [
            "PAID", "REPEATED", "TOO_LATE", "RELEASED", "TOO_LATE", "REPEATED",
        ]  # fmt: skip
        assert [record["status"] for record in settled(redis_client)] == [
            "paid", "cancelled", "too_late",
        ]  # fmt: skip
        assert stock(redis_client) == {1001: 8}

    def test_a_prefix_before_one_that_waits(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        reply = send(redis_client, paid(0), None, paid(4, 5), paid(1, 2))
        assert (reply.status, reply.position) == (SettleStatus.DECIDED, 2)
        assert (reply.outcomes, reply.waiting) == (b"P8W", True)
        assert redis_client.hvals(LANE.settle_positions) == [b"2"]
        assert [record["offset"] for record in settled(redis_client)] == [0]
        buy(engine, body(5), start=4)
        assert settle(redis_client, paid(4, 5), paid(1, 2), start=2) == ["PAID", "PAID"]
        assert sum(map(int, redis_client.hvals(LANE.settle_stats))) == 4

    def test_holes_are_skipped_and_a_wait_ends_behind_them(
        self, redis_client: "redis.Redis"
    ) -> None:
        holes = [(3, paid(0)), (7, paid(4)), (9, paid(1, 2))]
        reply = settle_batch(redis_client, LANE, SettleBatch(SETTLE_SOURCE, 0, 0, 12, 0, holes))
        assert (reply.position, reply.outcomes) == (7, b"PW")
        # Kafka has lost the request since, and a call is repeated from further back.
        holes[1] = (7, paid(4, lost=True))
        reply = settle_batch(redis_client, LANE, SettleBatch(SETTLE_SOURCE, 0, 2, 12, 0, holes))
        assert (reply.position, reply.outcomes) == (12, b".NP")
        assert redis_client.hgetall(LANE.settle_stats) == {
            b"paid": b"2", b"not_held": b"1", b"skipped": b"9",
        }  # fmt: skip

    def test_several_activities_and_strings_of_the_board(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        far = 3 * BOARD_STRING
        redis_client.hset(LANE.positions, position_field(SOURCE, 0), far - 1)
        buy(engine, body(8), body(9, activity_id=2), start=far - 1)
        listener = redis_client.pubsub()
        listener.subscribe(CONTROL_CHANNEL)
        wait_until(lambda: listener.get_message(timeout=0.1), 10, "the subscription")
        messages = [
            cancelled(far - 1, 8), cancelled(far, 9, activity=2),
            cancelled(3, 4, activity=2), paid(0),
        ]  # fmt: skip
        assert settle(redis_client, *messages) == ["RELEASED"] * 3 + ["PAID"]
        assert redis_client.get(BOARD) == b"P00C"
        assert redis_client.getrange(LANE.board(SOURCE, 0, 2), -1, -1) == b"C"
        assert redis_client.get(LANE.board(SOURCE, 0, 3)) == b"C"
        assert (stock(redis_client), stock(redis_client, 2)) == ({1001: 7}, {1001: 10})
        told: Any = wait_until(lambda: listener.get_message(timeout=0.1), 10, "the message")
        assert json.loads(told["data"]) == {
            "cmd": "units_returned",
            "activities": {
                "1": {"epoch": 0, "items": {"1001": 1}}, "2": {"epoch": 0, "items": {"1001": 2}},
            },
        }  # fmt: skip
        assert listener.get_message(timeout=0.1) is None
        listener.close()


class TestOnce:
    @pytest.fixture(autouse=True)
    def _sale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 10}, hold_s=60)
        buy(engine, body(1), body(2), body(3))

    def test_a_redelivered_batch(self, redis_client: "redis.Redis") -> None:
        settle(redis_client, paid(0), cancelled(1, 2))
        before = everything(redis_client)
        reply = send(redis_client, paid(0), cancelled(1, 2))
        assert (reply.status, reply.position) == (SettleStatus.DUPLICATE, 2)
        assert everything(redis_client) == before
        assert settle(redis_client, paid(0), cancelled(1, 2), paid(2, 3)) == [".", ".", "PAID"]

    def test_a_redis_that_went_back_is_fenced(self, redis_client: "redis.Redis") -> None:
        reply = send(redis_client, paid(0), start=5)
        assert (reply.status, reply.position) == (SettleStatus.REWOUND, 0)
        reply = send(redis_client, paid(0))
        assert reply.status is SettleStatus.FENCED
        assert "REWOUND" in reply.why
        assert "a settler has decided up to 5" in reply.why

    def test_an_earlier_generation_is_a_rewind_too(self, redis_client: "redis.Redis") -> None:
        assert send(redis_client, paid(0), generation=1).status is SettleStatus.REWOUND

    def test_a_lane_that_was_rebuilt(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(LANE.state, "generation", 2)
        reply = send(redis_client, paid(0), start=7)
        assert (reply.status, reply.position, reply.generation) == (SettleStatus.MOVED, -1, 2)
        assert send(redis_client, paid(0), generation=2).status is SettleStatus.DECIDED
        reply = send(redis_client, paid(1, 2), start=1, generation=1)
        assert (reply.status, reply.position) == (SettleStatus.MOVED, 1)

    def test_a_fenced_lane(self, redis_client: "redis.Redis") -> None:
        fence(redis_client, LANE, RECOVERING, "in a test")
        before = everything(redis_client)
        reply = send(redis_client, paid(0))
        assert (reply.status, reply.why) == (SettleStatus.FENCED, "RECOVERING: in a test")
        assert everything(redis_client) == before

    def test_another_lane(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(LANE.state, "identity", "a")
        assert send(redis_client, paid(0), identity="").status is SettleStatus.UNSEEN
        reply = send(redis_client, paid(0), identity="b")
        assert reply.status is SettleStatus.FENCED
        assert "the settler decides for lane b" in reply.why
        assert send(redis_client, paid(0), identity="a").status is SettleStatus.DECIDED

    def test_a_clock_that_is_wrong(
        self, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seckill.lane.holds.time.time_ns", lambda: 10**15)
        reply = send(redis_client, paid(0))
        assert reply.status is SettleStatus.CLOCK
        assert "ahead of the clock of this settler" in reply.why

    def test_time_never_goes_back(self, redis_client: "redis.Redis") -> None:
        ahead = redis_ms(redis_client) + 50_000
        redis_client.hset(LANE.state, "clock", ahead)
        settle(redis_client, paid(0))
        assert settled(redis_client)[0]["timestamp"] == ahead // 1000

    def test_nothing_is_loaded(self, redis_client: "redis.Redis") -> None:
        redis_client.flushall()
        assert send(redis_client, paid(0)).status is SettleStatus.NOT_LOADED
        redis_client.hset(LANE.settle_positions, position_field(SETTLE_SOURCE, 0), 0)
        reply = send(redis_client, paid(0))
        assert reply.status is SettleStatus.FENCED
        assert "TORN" in reply.why


class TestOnSaleAgain:
    def test_a_release_opens_a_sold_out_sale(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 2}, hold_s=60)
        assert buy(engine, body(1), body(2), body(3)) == b"001"
        assert settle(redis_client, cancelled(0)) == ["RELEASED"]
        assert redis_client.hget(KEYS.state, "over") is None
        assert epoch(redis_client) == 1
        # The version is the operators' alone.
        assert redis_client.hget(KEYS.state, "version") == b"1"
        assert buy(engine, body(4), body(5), start=3) == b"01"

    def test_the_epoch_is_raised_once_a_call_and_only_from_nothing(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 4, 1002: 4}, hold_s=60)
        buy(engine, *(body(n, {1001: 1, 1002: 1}) for n in (1, 2, 3)))
        settle(redis_client, cancelled(0))
        assert epoch(redis_client) == 0
        buy(engine, body(4, {1001: 2}), body(5, {1002: 2}), start=3)
        assert stock(redis_client) == {1001: 0, 1002: 0}
        settle(redis_client, cancelled(1, 2), cancelled(2, 3), start=1)
        assert epoch(redis_client) == 1
        settle(redis_client, cancelled(3, 4), start=3)
        assert epoch(redis_client) == 1

    def test_counted_losers_are_asked_again(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """A consumer that knew the item as gone sends the losers as counts: they are none now."""
        put_on_sale(redis_client, {1001: 1, 1002: 5}, hold_s=60)
        reply = engine.decide([batch([body(1)])])[0]
        known = dict(reply.known)
        assert known[1].gone == {1001}
        sent = encode(SOURCE, 0, 1, [1], [body(2)], known=known)
        assert sent.losers
        settle(redis_client, cancelled(0))
        assert engine.decide([sent])[0].status is Status.STALE
        assert engine.decide([sent.whole()])[0].outcomes == b"0"

    def test_finished_stays_finished(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 2}, hold_s=60)
        buy(engine, body(1), body(2))
        redis_client.hset(KEYS.state, "over", "finished")
        settle(redis_client, cancelled(0))
        make_due(redis_client)
        assert expire(redis_client).expired == 1
        assert redis_client.hget(KEYS.state, "over") == b"finished"
        assert stock(redis_client) == {1001: 2}
        assert buy(engine, body(3), start=2) == b"1"

    def test_a_released_buyer_may_buy_again(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 9}, hold_s=60, user_limit=3)
        assert buy(engine, body(1, {1001: 2}), body(1, {1001: 1}), body(1)) == b"004"
        settle(redis_client, cancelled(0))
        assert buyers_of(redis_client) == {1: 1}
        assert buy(engine, body(1, {1001: 3}), body(1, {1001: 2}), start=3) == b"40"

    def test_without_a_limit_nobody_is_counted(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 9}, hold_s=60)
        buy(engine, body(1))
        settle(redis_client, cancelled(0))
        assert not redis_client.exists(KEYS.buyers)


class TestBroken:
    """What another program has spoilt changes nothing, or stops the lane."""

    @pytest.fixture(autouse=True)
    def _sale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 9}, hold_s=60, user_limit=5)
        buy(engine, body(1), body(2))

    @pytest.mark.parametrize(
        "key",
        [
            LANE.settle_positions, LANE.settle_stats, LANE.positions, LANE.list, BOARD, KEYS.stats,
            KEYS.buyers, KEYS.held, KEYS.due, KEYS.stock, KEYS.state, LANE.state, LANE.activities,
        ],
    )  # fmt: skip
    def test_a_key_of_another_type(self, redis_client: "redis.Redis", key: str) -> None:
        redis_client.delete(key)
        if key == LANE.list:
            redis_client.set(key, "x")
        else:
            redis_client.rpush(key, "x")
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match="WRONGTYPE"):
            send(redis_client, cancelled(0), paid(7))
        assert everything(redis_client) == before

    def test_a_counter_that_is_no_number(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(KEYS.stats, "paid", "many")
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match="BROKEN field paid"):
            send(redis_client, paid(0))
        assert everything(redis_client) == before

    @pytest.mark.parametrize(
        "text",
        ["x", ";0", ";0|1|2", ";0|1|2|3", ";0||2|3:4", ";0|1|1|1001:1x;2|1", ";0|1|1|1001:1;x"],
    )
    def test_a_hold_that_is_none(self, redis_client: "redis.Redis", text: str) -> None:
        redis_client.hset(KEYS.held, f"{SOURCE}:0:0", text)
        redis_client.zadd(KEYS.due, {f"{SOURCE}:0:0": 1})
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match="BROKEN the block of holds"):
            send(redis_client, paid(0))
        with pytest.raises(RedisRefuses, match="BROKEN the block of holds"):
            expire(redis_client)
        assert everything(redis_client) == before

    @pytest.mark.parametrize("lost", [KEYS.held, KEYS.due, KEYS.state, KEYS.stock])
    def test_a_part_that_is_missing_fences_the_lane(
        self, redis_client: "redis.Redis", lost: str
    ) -> None:
        redis_client.delete(lost)
        reply = send(redis_client, cancelled(0))
        assert reply.status is SettleStatus.FENCED
        assert reply.why.startswith("TORN")
        assert redis_client.hget(LANE.state, "fenced") == b"TORN"

    def test_deciding_sees_it_too(self, engine: Engine, redis_client: "redis.Redis") -> None:
        redis_client.delete(KEYS.due)
        reply = engine.decide([batch([body(3)], 2)])[0]
        assert reply.status is Status.FENCED
        assert "the holds of activity 1 and their times differ" in reply.why
        assert stock(redis_client) == {1001: 7}
