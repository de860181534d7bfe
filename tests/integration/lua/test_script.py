"""decide_batch.lua on the real server: each outcome, all or nothing, once, nothing else touched."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import skip
from seckill.consumer.engine import Engine, Reply, Status
from seckill.errors import RedisAway
from seckill.formats.outcomes import MAX_ID, MAX_ITEMS, MAX_QUANTITY, Outcome
from seckill.lane import scripts
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from tests.helpers.figures import bucket
from tests.helpers.sale import SOURCE, batch, body, everything, now_ms, put_on_sale, stock, waiting

LANE = Lane()
HOUR_MS = 3_600_000


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine without a timeout of its own, on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


def names(reply: Reply) -> list[str]:
    """The outcomes of a reply in words; a dot for what was decided before."""
    words = {0: "ACCEPTED", **{-outcome: outcome.name for outcome in Outcome if outcome < 0}}
    return ["." if byte == ord(".") else words[byte - ord("0")] for byte in reply.outcomes]


def decide(engine: Engine, *values: bytes | None, start: int = 0, **where: Any) -> list[str]:
    """Decide one batch that must be decided; its outcomes."""
    reply = engine.decide([batch(values, start, **where)])[0]
    assert reply.status is Status.DECIDED
    assert reply.position == start + len(values)
    return names(reply)


class TestOutcomes:
    def test_each_outcome(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 5}, user_limit=3, timeout=60_000)
        put_on_sale(redis_client, {1001: 5}, activity=2, opens_at=now_ms() + HOUR_MS)
        put_on_sale(redis_client, {1001: 0}, activity=3)
        assert decide(
            engine,
            body(1, {1001: 3}),
            body(2, {1001: 3}),
            body(1, {1001: 1}),
            body(3, {9999: 1}),
            body(3, at=now_ms() - HOUR_MS),
            body(3, activity_id=2),
            body(3, activity_id=3),
            body(3, activity_id=4),
            b"no request",
        ) == [
            "ACCEPTED", "SOLD_OUT", "LIMIT", "UNKNOWN_ITEM", "EXPIRED", "NOT_OPEN", "OVER",
            "NO_SUCH_ACTIVITY", "INVALID",
        ]  # fmt: skip
        lane = read_lane(redis_client, LANE)
        assert (lane.decided, lane.invalid, lane.no_such_activity) == (9, 1, 1)
        assert lane.activities[1].units_sold == 3
        assert lane.activities[1].expired_with_stock == 1

    def test_the_order_of_the_checks(self, engine: Engine, redis_client: "redis.Redis") -> None:
        """One request breaks all rules at once; each loses its claim when the one before goes."""
        worst = {"user": 1, "items": {1001: 5, 9999: 1}, "at": now_ms() - HOUR_MS}
        put_on_sale(redis_client, {1001: 4}, user_limit=1, timeout=60_000)
        state = LANE.activity(1).state
        redis_client.hset(state, mapping={"over": "finished", "closes_at": 1})
        assert decide(engine, body(**worst), start=0) == ["EXPIRED"]
        worst["at"] = now_ms()
        assert decide(engine, body(**worst), start=1) == ["OVER"]
        redis_client.hdel(state, "over")
        assert decide(engine, body(**worst), start=2) == ["NOT_OPEN"]
        redis_client.hdel(state, "closes_at")
        assert decide(engine, body(**worst), start=3) == ["UNKNOWN_ITEM"]
        worst["items"] = {1001: 5}
        assert decide(engine, body(**worst), start=4) == ["LIMIT"]
        redis_client.hdel(state, "user_limit")
        assert decide(engine, body(**worst), start=5) == ["SOLD_OUT"]
        worst["items"] = {1001: 4}
        assert decide(engine, body(**worst), start=6) == ["ACCEPTED"]

    def test_all_items_or_none(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 10, 1002: 1, 1003: 5})
        assert decide(
            engine, body(1, {1001: 2, 1002: 2}), body(2, {1001: 2, 9999: 1}),
            body(3, {1003: 5, 1001: 10, 1002: 1}),
        ) == ["SOLD_OUT", "UNKNOWN_ITEM", "ACCEPTED"]  # fmt: skip
        # Neither of the two that came to nothing took a unit of what there was.
        assert stock(redis_client) == {1001: 0, 1002: 0, 1003: 0}
        assert {r["user_id"] for r in waiting(redis_client)} == {3}

    def test_one_failed_request_sells_nobody_out(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 2})
        assert decide(engine, body(1, {1001: 3}), body(2, {1001: 2})) == ["SOLD_OUT", "ACCEPTED"]

    def test_a_limit_counts_within_a_batch_and_over_batches(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100, 1002: 100}, user_limit=5)
        assert decide(
            engine, body(1, {1001: 2, 1002: 2}), body(1, {1001: 2}), body(1), body(1), body(2)
        ) == ["ACCEPTED", "LIMIT", "ACCEPTED", "LIMIT", "ACCEPTED"]
        assert decide(engine, body(1), body(2, {1001: 4}), body(2), start=5) == [
            "LIMIT", "ACCEPTED", "LIMIT",
        ]  # fmt: skip
        # Another topic is the same user.
        assert decide(engine, body(1), source="another") == ["LIMIT"]
        bought = redis_client.hgetall(LANE.activity(1).buyers)
        assert bought == {b"": b"1", b"1": b"5", b"2": b"5"}

    def test_without_a_limit_nobody_is_counted(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, *[body(1)] * 10)
        assert not redis_client.exists(LANE.activity(1).buyers)

    def test_timeouts(self, stack: Endpoints, redis_client: "redis.Redis") -> None:
        """An activity's own timeout wins over the consumer's; neither means never."""
        put_on_sale(redis_client, {1001: 100})
        put_on_sale(redis_client, {1001: 100}, activity=2, timeout=10 * HOUR_MS)
        old = now_ms() - HOUR_MS
        asked = [body(1, at=old), body(1, at=old, activity_id=2), body(1, at=now_ms() + HOUR_MS)]
        for timeout, first in ((HOUR_MS // 2, "EXPIRED"), (None, "ACCEPTED"), (0, "ACCEPTED")):
            engine = Engine(stack.redis_url, LANE, timeout)
            assert decide(engine, *asked, source=f"timeout {timeout}") == [
                first, "ACCEPTED", "ACCEPTED",
            ]  # fmt: skip
            engine.close()

    def test_the_future_is_no_negative_latency(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100}, timeout=1)
        decide(engine, body(1, at=2**53), body(2, at=now_ms() + 10 * HOUR_MS))
        assert [record["cost_ms"] for record in waiting(redis_client)] == [0, 0]
        assert read_lane(redis_client, LANE).activities[1].latency.buckets == {0: 2}

    def test_expired_requests_after_the_end_are_no_lost_sales(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1}, timeout=60_000)
        old = body(1, at=now_ms() - HOUR_MS)
        assert decide(engine, old, body(2), old) == ["EXPIRED", "ACCEPTED", "EXPIRED"]
        assert read_lane(redis_client, LANE).activities[1].expired_with_stock == 1

    @pytest.mark.parametrize(
        ("opens", "closes", "outcome"),
        [(-1, None, "ACCEPTED"), (1, None, "NOT_OPEN"), (None, 1, "ACCEPTED"),
         (None, -1, "NOT_OPEN"), (-2, 2, "ACCEPTED"), (-2, -1, "NOT_OPEN"), (1, 2, "NOT_OPEN")],
    )  # fmt: skip
    def test_the_window(
        self, engine: Engine, redis_client: "redis.Redis", opens: int | None, closes: int | None,
        outcome: str,
    ) -> None:  # fmt: skip
        hours = {"opens_at": opens, "closes_at": closes}
        window = {name: now_ms() + n * HOUR_MS for name, n in hours.items() if n is not None}
        put_on_sale(redis_client, {1001: 1}, **window)
        assert decide(engine, body()) == [outcome]

    def test_the_last_unit_ends_the_sale_for_the_rest_of_its_batch(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 2, 1002: 1})
        assert decide(
            engine, body(1, {1001: 2}), body(2, {1001: 1}), body(3, {1002: 1}), body(4, {1002: 1})
        ) == ["ACCEPTED", "SOLD_OUT", "ACCEPTED", "OVER"]
        activity = read_lane(redis_client, LANE).activities[1]
        assert activity.over == "sold_out"
        assert decide(engine, body(5), start=4) == ["OVER"]

    def test_several_activities_share_a_batch_and_nothing_else(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1}, activity=1)
        put_on_sale(redis_client, {1001: 5, 1002: 5}, activity=2, user_limit=2)
        put_on_sale(redis_client, {1001: 5}, activity=MAX_ID, timeout=60_000)
        old = now_ms() - HOUR_MS
        assert decide(
            engine, body(1), body(1, activity_id=2), body(1, at=old, activity_id=MAX_ID),
            body(2), body(1, {1002: 1}, activity_id=2), body(1, activity_id=2),
            body(2, activity_id=MAX_ID),
        ) == [
            "ACCEPTED", "ACCEPTED", "EXPIRED", "OVER", "ACCEPTED", "LIMIT", "ACCEPTED",
        ]  # fmt: skip
        assert [stock(redis_client, a) for a in (1, 2, MAX_ID)] == [
            {1001: 0}, {1001: 4, 1002: 4}, {1001: 4},
        ]  # fmt: skip
        lane = read_lane(redis_client, LANE)
        assert {a: s.total for a, s in lane.activities.items()} == {1: 2, 2: 3, MAX_ID: 2}


class TestRecords:
    def test_a_record_word_for_word(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 10, 1002: 10})
        at = now_ms() - 500
        wish = body(564, {1001: 2, 1002: 1}, at, request_id='"漢\\\n/\x7f')
        engine.decide([skip(SOURCE, 3, 0, 70)])
        reply = engine.decide([batch([wish], 70, partition=3)])[0]
        newest, oldest = redis_client.lrange(LANE.list, 0, -1)
        assert oldest.decode() == (
            '{"user_id":564,"activity_id":1,"item_id":1001,"quantity":2,'
            f'"cost_ms":{reply.now_ms - at},"status":"success","timestamp":{reply.now_ms // 1000},'
            f'"source":"{SOURCE}","partition":3,"offset":70,'
            '"request_id":"\\"漢\\\\\\n/\x7f","version":1}'
        )
        assert json.loads(newest)["item_id"] == 1002
        assert reply.known[1].version == 1

    def test_numbers_are_written_out(self, engine: Engine, redis_client: "redis.Redis") -> None:
        """Lua would write 1e+15; and ids above 2^53 it would round."""
        put_on_sale(redis_client, {MAX_ID: 10**12, MAX_ID - 1: 10**12}, activity=MAX_ID - 2)
        wanted = {MAX_ID: MAX_QUANTITY, MAX_ID - 1: MAX_QUANTITY}
        wish = body(MAX_ID - 3, wanted, at=0, activity_id=MAX_ID - 2)
        engine.decide([skip(SOURCE, 0, 0, 2**52)])
        decide(engine, wish, wish, start=2**52)
        for record in redis_client.lrange(LANE.list, 0, -1):
            assert b"e+" not in record
        found = waiting(redis_client)
        assert [r["item_id"] for r in found] == [MAX_ID, MAX_ID - 1] * 2
        assert [r["offset"] for r in found] == [2**52] * 2 + [2**52 + 1] * 2
        assert {r["user_id"] for r in found} == {MAX_ID - 3}
        assert {r["activity_id"] for r in found} == {MAX_ID - 2}
        left = 10**12 - 2 * MAX_QUANTITY
        assert stock(redis_client, MAX_ID - 2) == {MAX_ID: left, MAX_ID - 1: left}
        lane = read_lane(redis_client, LANE)
        assert lane.positions == {position_field(SOURCE, 0): 2**52 + 2}
        assert lane.skipped == 2**52
        assert lane.activities[MAX_ID - 2].units_sold == 4 * MAX_QUANTITY

    def test_latencies_go_into_the_buckets(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1000})
        ages = [0, 1, 15, 16, 17, 31, 32, 100, 1000, 59_999, HOUR_MS, 10 * HOUR_MS]
        now = now_ms()
        reply = engine.decide([batch([body(1, at=now - age) for age in ages])])[0]
        expected: dict[int, int] = {}
        for age in ages:
            lower = bucket(reply.now_ms - now + age)
            expected[lower] = expected.get(lower, 0) + 1
        assert read_lane(redis_client, LANE).activities[1].latency.buckets == expected


class TestOnce:
    def test_a_batch_again_changes_nothing(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 5}, user_limit=3)
        sent = batch([body(n) for n in range(1, 8)] + [b"bad", None])
        first = engine.decide([sent])[0]
        before = everything(redis_client)
        for again in (sent, batch([body(9)], 0), batch([body(9)], 8), skip(SOURCE, 0, 0, 5)):
            reply = engine.decide([again])[0]
            assert (reply.status, reply.position) == (Status.DUPLICATE, first.position)
            assert reply.outcomes == b""
        assert everything(redis_client) == before

    def test_only_the_new_part_of_an_overlap_is_decided(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, *[body(n) for n in (1, 2, 3)])
        reply = engine.decide([batch([body(1), body(2), b"x", body(4), b"bad", body(5)])])[0]
        assert names(reply) == [".", ".", ".", "ACCEPTED", "INVALID", "ACCEPTED"]
        assert [r["user_id"] for r in waiting(redis_client)] == [1, 2, 3, 4, 5]
        assert [r["offset"] for r in waiting(redis_client)] == [0, 1, 2, 3, 5]
        assert stock(redis_client) == {1001: 95}

    def test_a_position_before_the_batch_is_a_rewound_redis(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, body(1), body(2))
        before = everything(redis_client)
        reply = engine.decide([batch([body(3)], 3)])[0]
        assert (reply.status, reply.position) == (Status.REWOUND, 2)
        after = everything(redis_client)
        assert after.pop(LANE.state.encode())[b"fenced"] == b"REWOUND"
        before.pop(LANE.state.encode())
        assert after == before

    def test_no_position_where_something_was_decided_is_a_rewound_redis(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, body(1), start=0, partition=1)
        reply = engine.decide([batch([body(1), body(2)], 40)])[0]
        assert (reply.status, reply.position) == (Status.REWOUND, 0)
        assert stock(redis_client) == {1001: 99}

    def test_holes_count_as_skipped_once(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, body(1))
        for start, end, skipped in ((1, 10, 9), (5, 10, 9), (8, 20, 19), (0, 20, 19)):
            engine.decide([skip(SOURCE, 0, start, end)])
            assert read_lane(redis_client, LANE).skipped == skipped
        assert read_lane(redis_client, LANE).decided == 1

    def test_partitions_and_sources_have_positions_of_their_own(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        for where in ({"partition": 0}, {"partition": 1}, {"source": "a topic made again"}):
            assert decide(engine, body(1), **where) == ["ACCEPTED"]
        assert stock(redis_client) == {1001: 97}


class TestRefusals:
    """Nothing is decided, and nothing at all is written."""

    def test_an_empty_redis(self, engine: Engine, redis_client: "redis.Redis") -> None:
        reply = engine.decide([batch([body(1), b"bad"])])[0]
        assert (reply.status, reply.position) == (Status.NOT_LOADED, 0)
        assert everything(redis_client) == {}

    @pytest.mark.parametrize("missing", ["state", "stock"])
    def test_an_activity_that_is_loaded_in_part(
        self, engine: Engine, redis_client: "redis.Redis", missing: str
    ) -> None:
        """The other activity's request before it is not decided either: all or nothing."""
        put_on_sale(redis_client, {1001: 100})
        put_on_sale(redis_client, {1001: 100}, activity=2)
        redis_client.delete(getattr(LANE.activity(2), missing))
        before = everything(redis_client)
        sent = batch([body(1), b"bad", body(1, activity_id=77), body(1, activity_id=2)])
        reply = engine.decide([sent])[0]
        assert reply.status is Status.FENCED
        assert reply.why == f"TORN: the {missing} of activity 2 is missing"
        fence = redis_client.hgetall(LANE.state)
        assert fence[b"fenced"] == b"TORN"
        redis_client.delete(LANE.state)
        assert everything(redis_client) == before

    def test_a_blob_that_does_not_add_up_is_a_bug_and_changes_nothing(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        before = everything(redis_client)
        sent = batch([body(1), body(2)])
        sent.end = 3
        with pytest.raises(redis.ResponseError, match="BADBATCH the requests end at 2, not at 3"):
            engine.decide([sent])
        assert everything(redis_client) == before

    def test_a_full_redis(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 100})
        before = everything(redis_client)
        redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(RedisAway, match="maxmemory"):
                engine.decide([batch([body(1)])])
            assert everything(redis_client) == before
        finally:
            redis_client.config_set("maxmemory", 0)
        assert decide(engine, body(1)) == ["ACCEPTED"]


class TestConnection:
    def test_scripts_forgotten_in_between(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        assert decide(engine, body(1)) == ["ACCEPTED"]
        redis_client.script_flush()
        replies = engine.decide([batch([body(2)], 1), batch([body(3)], 2)])
        assert [names(reply) for reply in replies] == [["ACCEPTED"], ["ACCEPTED"]]
        engine.submit([batch([body(4)], 3)])
        assert names(engine.collect()[0]) == ["ACCEPTED"]
        assert redis_client.script_exists(scripts.load("decide_batch").sha) == [True]
        assert stock(redis_client) == {1001: 96}

    @pytest.mark.parametrize("when", ["before the call", "while it waits"])
    def test_a_connection_that_was_cut_decides_once(
        self, engine: Engine, redis_client: "redis.Redis", when: str
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        decide(engine, body(1))
        sent = [batch([body(2), body(3)], 1), batch([body(4)], 0, partition=1)]

        def cut() -> None:
            me = redis_client.client_id()
            for client in redis_client.client_list():
                if int(client["id"]) != me:
                    redis_client.client_kill_filter(_id=client["id"])

        if when == "before the call":
            cut()
            with pytest.raises(RedisAway):
                engine.decide(sent)
        else:
            redis_client.client_pause(10_000, all=False)
            engine.submit(sent)
            cut()
            redis_client.client_unpause()
            with pytest.raises(RedisAway):
                engine.collect()
        assert not engine.busy
        assert stock(redis_client) == {1001: 99}
        for reply, end in zip(engine.decide(sent), (3, 1), strict=True):
            assert reply.status is Status.DECIDED
            assert reply.position == end
        assert sorted(r["user_id"] for r in waiting(redis_client)) == [1, 2, 3, 4]
        assert stock(redis_client) == {1001: 96}
        assert read_lane(redis_client, LANE).decided == 4

    def test_a_lost_answer_then_a_repeat(
        self, stack: Endpoints, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """Whether the call was done is not known; the repeat finds out."""
        put_on_sale(redis_client, {1001: 100})
        sent = batch([body(1), body(2)])
        other = Engine(stack.redis_url, LANE)
        other.decide([sent])
        other.close()
        assert engine.decide([sent])[0].status is Status.DUPLICATE
        assert stock(redis_client) == {1001: 98}

    def test_nobody_there(self, stack: Endpoints) -> None:
        engine = Engine("redis://127.0.0.1:1/0", LANE)
        with pytest.raises(RedisAway):
            engine.decide([batch([body(1)])])
        wrong = Engine(stack.redis_url.replace("redis://:", "redis://:not"), LANE)
        with pytest.raises(RedisAway, match=r"refuses: .*password"):
            wrong.decide([batch([body(1)])])

    def test_calls_must_be_collected(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 100})
        engine.submit([batch([body(1)])])
        with pytest.raises(RuntimeError, match="not been collected"):
            engine.submit([batch([body(2)], 1)])
        assert names(engine.collect()[0]) == ["ACCEPTED"]


class TestSize:
    def test_twenty_thousand_winners_in_one_batch(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """More of everything than Lua's stack holds: records, buyers, items."""
        count = 20_000
        put_on_sale(redis_client, dict.fromkeys(range(1, 9001), 100), user_limit=10)
        values = [body(n, {1 + n % 9000: 1}) for n in range(1, count + 1)]
        assert decide(engine, *values) == ["ACCEPTED"] * count
        found = waiting(redis_client)
        assert [r["offset"] for r in found] == list(range(count))
        assert [r["user_id"] for r in found] == list(range(1, count + 1))
        assert sum(stock(redis_client).values()) == 9000 * 100 - count
        # And the mark of a hash that is counted in.
        assert redis_client.hlen(LANE.activity(1).buyers) == count + 1

    def test_requests_of_fifty_items(self, engine: Engine, redis_client: "redis.Redis") -> None:
        items = dict.fromkeys(range(1, MAX_ITEMS + 1), 2)
        put_on_sale(redis_client, dict.fromkeys(items, 800))
        outcomes = decide(engine, *[body(n, items) for n in range(1, 501)])
        assert outcomes == ["ACCEPTED"] * 400 + ["OVER"] * 100
        assert redis_client.llen(LANE.list) == 400 * MAX_ITEMS
        assert read_lane(redis_client, LANE).activities[1].units_sold == 400 * MAX_ITEMS * 2

    def test_thousands_of_activities_that_do_not_exist(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 100})
        values = [body(1, activity_id=n) for n in range(1, 9001)]
        assert decide(engine, *values) == ["ACCEPTED"] + ["NO_SUCH_ACTIVITY"] * 8999
        assert read_lane(redis_client, LANE).no_such_activity == 8999


def test_only_the_lanes_keys_are_touched(engine: Engine, redis_client: "redis.Redis") -> None:
    lane = Lane("seckill:logs:tests")
    other = Engine(connection_url(redis_client), lane)
    put_on_sale(redis_client, {1001: 2}, lane=lane, user_limit=5)
    put_on_sale(redis_client, {1001: 2}, lane=lane, activity=2)
    values = [body(1), body(1, activity_id=2), body(1, activity_id=3), b"bad", body(1), body(1)]
    other.decide([batch(values)])
    other.close()
    one, two = lane.activity(1), lane.activity(2)
    assert {key.decode() for key in redis_client.scan_iter()} == {
        lane.list, lane.activities, lane.positions, lane.stats,
        one.state, one.stock, one.loaded, one.stats, one.buyers, one.clicks,
        two.state, two.stock, two.loaded, two.stats, two.clicks,
        lane.state, lane.board(SOURCE, 0, 0),
    }  # fmt: skip
    assert all(redis_client.ttl(key) == -1 for key in redis_client.scan_iter())


def connection_url(client: "redis.Redis") -> str:
    """The address that a client was made from."""
    options = client.get_connection_kwargs()
    return f"redis://:{options['password']}@{options['host']}:{options['port']}/{options['db']}"
