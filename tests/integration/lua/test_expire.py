"""expire_holds.lua on the real server: never before every confirm that Kafka had is settled."""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine
from seckill.errors import RedisRefuses
from seckill.lane.fence import RECOVERING, fence
from seckill.lane.held import count_due
from seckill.lane.holds import ReadMark, SettleStatus, expire_holds
from seckill.lane.keys import Lane, position_field
from tests.helpers.blocks import holds_of, set_due
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
    PARTITIONS,
    cancelled,
    expire,
    make_due,
    paid,
    read_all,
    redis_ms,
    settle,
)
from tests.helpers.wrong_scripts import change

LANE = Lane()
KEYS = LANE.activity(1)
BOARD = LANE.board(SOURCE, 0, 0)
DECIDED = SettleStatus.DECIDED


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine, and four holds of one unit; of user 1's two items, user 2's, 3's, 4's one."""
    engine = Engine(stack.redis_url, LANE)
    put_on_sale(redis_client, {1001: 4, 1002: 1}, hold_s=60, user_limit=5)
    values = [body(1, {1001: 1, 1002: 1}), body(2), body(3), body(4)]
    assert engine.decide([batch(values)])[0].outcomes == b"0000"
    yield engine
    engine.close()


pytestmark = pytest.mark.usefixtures("engine")


class TestExpiring:
    def test_what_is_due_expires_whole(self, redis_client: "redis.Redis") -> None:
        make_due(redis_client, 0, 2)
        before = redis_ms(redis_client) // 1000
        reply = expire(redis_client)
        assert (reply.status, reply.expired, reply.full) == (DECIDED, 2, False)
        assert redis_client.get(BOARD) == b"X0X0"
        assert stock(redis_client) == {1001: 2, 1002: 1}
        left = holds_of(redis_client)
        assert list(left) == [f"{SOURCE}:0:1", f"{SOURCE}:0:3"]
        assert reply.next_due_ms == min(hold.due_ms for hold in left.values())
        records = waiting(redis_client)[-3:]
        assert before <= records[0].pop("timestamp") <= redis_ms(redis_client) // 1000
        assert records[0] == {
            "user_id": 1, "activity_id": 1, "item_id": 1001, "quantity": 1, "cost_ms": 0,
            "status": "expired", "source": SOURCE, "partition": 0, "offset": 0, "version": 1,
            "forgiven": False,
        }  # fmt: skip
        assert [(r["offset"], r["item_id"]) for r in records] == [(0, 1001), (0, 1002), (2, 1001)]
        counters = redis_client.hmget(KEYS.stats, "expired", "units_returned", "cancelled", "paid")
        assert counters == [b"2", b"3", None, None]
        # The sale was sold out.
        assert redis_client.hmget(KEYS.state, "over", "epoch") == [None, b"1"]

    def test_nothing_is_due(self, redis_client: "redis.Redis") -> None:
        reply = expire(redis_client)
        assert (reply.expired, reply.full) == (0, False)
        assert reply.next_due_ms is not None
        assert len(waiting(redis_client)) == 5

    def test_no_holds(self, redis_client: "redis.Redis") -> None:
        settle(redis_client, *(paid(n, n + 1) for n in range(4)))
        reply = expire(redis_client)
        assert (reply.status, reply.expired, reply.next_due_ms) == (DECIDED, 0, None)

    def test_at_most_so_many_a_call_the_oldest_block_first(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 20})
        engine.decide([batch([body(n) for n in range(5, 21)], 4)])
        make_due(redis_client)
        make_due(redis_client, 18, ago_ms=90_000)
        now = redis_ms(redis_client)
        assert count_due(redis_client, LANE, 1, now - 80_000) == 1
        reply = expire(redis_client, most=3)
        assert (reply.expired, reply.full) == (3, True)
        # Offsets 16 to 19 are a block.
        assert redis_client.get(BOARD) == b"0" * 16 + b"XXX0"
        assert count_due(redis_client, LANE, 1, now) == 17
        reply = expire(redis_client, most=30)
        assert (reply.expired, reply.full) == (17, False)
        assert count_due(redis_client, LANE, 1, now) == 0

    def test_a_time_that_is_too_early_lets_nothing_expire(
        self, redis_client: "redis.Redis"
    ) -> None:
        """Somebody has changed it by hand: each hold has its own, and the block gets it back."""
        redis_client.zadd(KEYS.due, {f"{SOURCE}:0:0": 1})
        assert expire(redis_client).expired == 0
        assert len(holds_of(redis_client)) == 4

    def test_a_paid_hold_never_expires(self, redis_client: "redis.Redis") -> None:
        settle(redis_client, paid(0), cancelled(1, 2))
        make_due(redis_client)
        assert expire(redis_client).expired == 2
        assert redis_client.get(BOARD) == b"PCXX"

    @pytest.mark.parametrize("gives_back", [False, True])
    def test_the_limit_is_given_back_if_so_chosen(
        self, redis_client: "redis.Redis", gives_back: bool
    ) -> None:
        make_due(redis_client, 0, 1)
        expire(redis_client, expired_gives_back=gives_back)
        assert buyers_of(redis_client) == ({3: 1, 4: 1} if gives_back else {1: 2, 2: 1, 3: 1, 4: 1})
        # The records say it, for whoever counts after the setting has changed.
        ends = [r for r in waiting(redis_client) if r["status"] == "expired"]
        assert [r["forgiven"] for r in ends] == [gives_back] * len(ends) != []

    def test_only_this_activity(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 4}, activity=2, hold_s=60)
        engine.decide([batch([body(9, activity_id=2)], 4)])
        make_due(redis_client)
        make_due(redis_client, activity=2)
        assert expire(redis_client, activity=2).expired == 1
        assert redis_client.get(BOARD) == b"0000X"
        assert expire(redis_client, activity=3).status is SettleStatus.NOT_LOADED

    def test_thousands_at_once(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 20_000})
        engine.decide([batch([body(n) for n in range(1, 9_001)], 4)])
        make_due(redis_client)
        marks = read_all(redis_client)
        assert [expire(redis_client, marks, most=10_000).expired for _ in range(4)] == [
            4_000, 4_000, 1_004, 0,
        ]  # fmt: skip
        assert stock(redis_client)[1001] == 20_004


class TestReadMarks:
    """Expiry waits for the settler: the marks say up to which time it has read all."""

    @pytest.fixture(autouse=True)
    def _due(self, engine: Engine, redis_client: "redis.Redis") -> None:
        make_due(redis_client)

    def test_a_partition_without_a_mark(self, redis_client: "redis.Redis") -> None:
        marks = read_all(redis_client)
        other = marks.pop(PARTITIONS[1])
        assert expire(redis_client, marks).expired == 0
        # Another settler has the other partition. Marks stay.
        assert expire(redis_client, {PARTITIONS[1]: other}).expired == 4

    def test_the_settle_topic_has_no_partitions(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(LANE.settle_read, position_field(*PARTITIONS[0]), redis_ms(redis_client))
        assert expire_of_none(redis_client) == 0

    def test_never_beyond_a_mark(self, redis_client: "redis.Redis") -> None:
        now = redis_ms(redis_client)
        for offset, ago in ((0, 3_001), (1, 3_000), (2, 2_999)):
            set_due(redis_client, now - ago, f"{SOURCE}:0:{offset}")
        set_due(redis_client, now + 60_000, f"{SOURCE}:0:3")
        # One settler reads on, the other is dead since two seconds. The grace is one second.
        marks = {PARTITIONS[0]: ReadMark(now, 0), PARTITIONS[1]: ReadMark(now - 2_000, 0)}
        reply = expire(redis_client, marks, grace_ms=1_000)
        assert (reply.expired, redis_client.get(BOARD)) == (1, b"X000")
        assert expire(redis_client, {}, grace_ms=999).expired == 1
        assert expire(redis_client, {}, grace_ms=0).expired == 1

    def test_a_mark_counts_only_when_all_before_the_end_is_settled(
        self, redis_client: "redis.Redis"
    ) -> None:
        """A settler has seen the end, and its batch was not settled: by a stall, or a lost call."""
        marks = read_all(redis_client)
        marks[PARTITIONS[0]] = ReadMark(redis_ms(redis_client), 1)
        assert expire(redis_client, marks).expired == 0
        assert redis_client.hgetall(LANE.settle_read).keys() == {
            position_field(*PARTITIONS[1]).encode()
        }
        settle(redis_client, paid(0))
        assert expire(redis_client, marks).expired == 3

    def test_a_mark_never_goes_back(self, redis_client: "redis.Redis") -> None:
        expire(redis_client, most=0)
        before = redis_client.hgetall(LANE.settle_read)
        old = {place: ReadMark(1, 0) for place in PARTITIONS}
        assert expire(redis_client, old).expired == 4
        assert redis_client.hgetall(LANE.settle_read) == before

    def test_marks_of_a_clock_that_was_ahead_count_as_missing(
        self, redis_client: "redis.Redis"
    ) -> None:
        """Else holds would expire by the clock alone until it has caught up."""
        late = redis_ms(redis_client) + 3_600_000
        for place in PARTITIONS:
            redis_client.hset(LANE.settle_read, position_field(*place), late)
        assert expire(redis_client, {}).expired == 0
        assert not redis_client.exists(LANE.settle_read)
        offered = {place: ReadMark(late, 0) for place in PARTITIONS}
        assert expire(redis_client, offered).expired == 0
        assert expire(redis_client).expired == 4

    def test_never_beyond_redis_clock(self, redis_client: "redis.Redis") -> None:
        set_due(redis_client, redis_ms(redis_client) + 60_000)
        assert expire(redis_client, grace_ms=-3_600_000).expired == 0


def expire_of_none(client: "redis.Redis") -> int:
    """How many expire if the caller names no partition."""
    return expire_holds(client, LANE, 1, [], {}, generation=0).expired


class TestRefused:
    @pytest.fixture(autouse=True)
    def _due(self, engine: Engine, redis_client: "redis.Redis") -> None:
        make_due(redis_client)

    def test_a_fenced_lane(self, redis_client: "redis.Redis") -> None:
        fence(redis_client, LANE, RECOVERING, "in a test")
        before = everything(redis_client)
        reply = expire(redis_client)
        assert (reply.status, reply.why) == (SettleStatus.FENCED, "RECOVERING: in a test")
        assert everything(redis_client) == before

    @pytest.mark.parametrize("known", [0, 2])
    def test_another_generation(self, redis_client: "redis.Redis", known: int) -> None:
        """The marks of before a rebuild say nothing about the lane after it."""
        redis_client.hset(LANE.state, "generation", 1)
        before = everything(redis_client)
        assert expire(redis_client, generation=known).status is SettleStatus.MOVED
        assert everything(redis_client) == before
        assert expire(redis_client, generation=1).expired == 4

    def test_another_lane(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(LANE.state, "identity", "a")
        assert expire(redis_client, identity="").status is SettleStatus.UNSEEN
        assert expire(redis_client, identity="b").status is SettleStatus.FENCED
        assert expire(redis_client, identity="a").expired == 4

    def test_a_counter_that_is_no_number(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(KEYS.stats, "expired", "many")
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match="BROKEN field expired"):
            expire(redis_client)
        assert everything(redis_client) == before

    def test_nothing_is_loaded(self, redis_client: "redis.Redis") -> None:
        redis_client.flushall()
        assert expire(redis_client).status is SettleStatus.NOT_LOADED

    @pytest.mark.parametrize(
        "key",
        [
            LANE.settle_positions, LANE.settle_read, LANE.list, BOARD, KEYS.stats, KEYS.buyers,
            KEYS.held, KEYS.due, KEYS.stock, KEYS.state, LANE.state, LANE.activities,
        ],
    )  # fmt: skip
    def test_a_key_of_another_type(self, redis_client: "redis.Redis", key: str) -> None:
        redis_client.delete(key)
        if key == LANE.list:
            redis_client.set(key, "x")
        else:
            redis_client.rpush(key, "x")
        before = everything(redis_client)
        marks = {place: ReadMark(redis_ms(redis_client), 0) for place in PARTITIONS}
        with pytest.raises(RedisRefuses, match="WRONGTYPE"):
            expire(redis_client, marks, expired_gives_back=True)
        assert everything(redis_client) == before

    @pytest.mark.parametrize("lost", [KEYS.held, KEYS.due, KEYS.state, KEYS.stock, "one block"])
    def test_a_part_that_is_missing_fences_the_lane(
        self, redis_client: "redis.Redis", lost: str
    ) -> None:
        if lost == "one block":
            # As many as before, but not the same.
            redis_client.hdel(KEYS.held, f"{SOURCE}:0:0")
            redis_client.hset(KEYS.held, f"{SOURCE}:0:9", ";0|1|1|1001:1")
        redis_client.delete(lost)
        left = stock(redis_client)
        reply = expire(redis_client)
        assert reply.status is SettleStatus.FENCED
        assert reply.why.startswith("TORN")
        assert redis_client.hget(LANE.state, "fenced") == b"TORN"
        assert stock(redis_client) == left


class TestNegativeControls:
    """Scripts that are wrong on purpose must be seen, or their tests mean nothing."""

    def confirmed_in_time(self, redis_client: "redis.Redis") -> tuple[bytes, int]:
        """A confirm is in Kafka before the hold is due, and the settler reads it a minute later."""
        marks = {place: ReadMark(redis_ms(redis_client) - 90_000, 0) for place in PARTITIONS}
        expire(redis_client, marks)
        make_due(redis_client, 0, ago_ms=60_000)
        # The settler stalls: its last mark is from before the time that the hold is due.
        expire(redis_client, {})
        outcomes = settle(redis_client, paid(0))
        return redis_client.get(BOARD)[:1], outcomes == ["PAID"]  # type: ignore[index]

    def test_expiry_waits_for_a_confirm_that_was_in_time(self, redis_client: "redis.Redis") -> None:
        assert self.confirmed_in_time(redis_client) == (b"P", True)

    def test_expiry_by_the_clock_alone_is_seen(
        self, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change(monkeypatch, "expire_holds", "limit = math.min(limit, mark or -math.huge)", "")
        assert self.confirmed_in_time(redis_client) == (b"X", False)

    def sold_out_then_released(self, engine: Engine, redis_client: "redis.Redis") -> bytes:
        """What a consumer's next request is told, which knew the sale as sold out."""
        known = engine.decide([batch([body(5)], 4)])[0].known
        assert known[1].over
        settle(redis_client, cancelled(1, 2))
        sent = encode(SOURCE, 0, 5, [5, 6], [body(6), body(7)], known=known)
        assert sent.losers
        reply = engine.decide([sent])[0]
        if reply.status.name == "STALE":
            reply = engine.decide([sent.whole()])[0]
        return redis_client.getrange(BOARD, 5, 6)  # type: ignore[return-value]

    def test_a_release_is_seen_by_counted_losers(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        assert self.sold_out_then_released(engine, redis_client) == b"01"

    def test_a_release_that_forgets_the_epoch_is_seen(
        self, engine: Engine, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A unit is on sale, and the losers are counted as if none was."""
        change(monkeypatch, "settle_batch", "if activity.reopens then", "if false then")
        assert self.sold_out_then_released(engine, redis_client) == b"22"
        assert stock(redis_client)[1001] == 1
