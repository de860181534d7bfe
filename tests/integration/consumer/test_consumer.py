"""The consumer, turn by turn, on real services and with both Kafka clients."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from seckill.broker import Position
from seckill.broker.producer import Producer
from seckill.consumer.batch import Batch, encode
from seckill.consumer.engine import Engine, Reply
from seckill.consumer.group import ConsumerGroup
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.errors import BrokerAway, RedisAway, Refused
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import position_field
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.helpers.bad_requests import BAD
from tests.helpers.messages import headers, read
from tests.helpers.node import LANE, SOON_S, Node, running
from tests.helpers.sale import body, everything, now_ms, put_on_sale, stock, waiting

HOUR_MS = 3_600_000


def test_what_was_produced_is_decided_and_then_committed(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 41)], 0)
    node.send([body(n) for n in range(41, 61)], 1)
    consumer = node.consumer()
    node.decided(consumer, 60)
    lane = node.lane()
    source = node.topics.source(node.server.topic)
    assert lane.positions == {
        position_field(str(source), 0): 40,
        position_field(str(source), 1): 20,
    }
    assert (lane.skipped, lane.activities[1].success) == (0, 60)
    assert sorted(r["user_id"] for r in waiting(node.client)) == list(range(1, 61))
    in_order = [r["offset"] for r in waiting(node.client) if r["partition"] == 0]
    assert in_order == list(range(40))
    node.ended(consumer)
    assert node.committed() == {0: 40, 1: 20}


def test_times_in_another_unit_are_told_and_decided(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.server = node.server.model_copy(update={"timeout": HOUR_MS})
    put_on_sale(node.client, {1001: 10})
    wrong = [body(1, at=now_ms() // 1000), body(2, at=now_ms() * 1000)]
    node.send([wrong[0], body(3), wrong[1]], 1)
    consumer = node.consumer()
    node.decided(consumer, 3)
    node.send(wrong, 1)
    node.decided(consumer, 5)
    told = [record.fields for record in caplog.records if record.event == "time-unit"]  # type: ignore[attr-defined]
    # Each unit once, however many come.
    assert [(fields["unit"], fields["partition"], fields["offset"]) for fields in told] == [
        ("seconds", 1, 0), ("microseconds", 1, 2),
    ]  # fmt: skip
    # In seconds it was in 1970. Its outcome is as it was.
    outcomes = node.lane().activities[1].outcomes
    assert (outcomes[Outcome.EXPIRED], outcomes[Outcome.ACCEPTED]) == (2, 3)


class Recording(Engine):
    """Tells what it is about to answer, before the consumer hears of it."""

    def __init__(self, *args: Any, tell: Callable[[list[Batch]], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self.tell = tell

    def collect(self) -> list[Reply]:
        batches = list(self._in_flight)
        replies = super().collect()
        self.tell(batches)
        return replies


def test_nothing_is_committed_before_its_answer(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 31)])
    commits: list[Mapping[int, Position]] = []
    answered = {0: 0}

    def tell(batches: list[Batch]) -> None:
        assert all(max(c.values()).offset <= answered[0] for c in commits), "committed too early"
        answered[0] = max(batch.end for batch in batches)

    consumer = node.consumer(Recording(node.server.redis_url, LANE, tell=tell), batch_size=7)
    commit = consumer.client.commit

    def commit_and_note(positions: Mapping[int, Position]) -> None:
        commits.append(positions)
        commit(positions)

    consumer.client.commit = commit_and_note  # type: ignore[method-assign]
    node.decided(consumer, 30)
    node.ended(consumer)
    assert commits
    assert node.committed() == {0: 30}


def test_a_lost_commit_costs_nothing(node: Node) -> None:
    """What was decided is read again, and Redis knows it."""
    put_on_sale(node.client, {1001: 20}, user_limit=5)
    node.send([body(n % 3) for n in range(1, 41)])
    first = node.consumer()
    first.client.commit = lambda positions: None  # type: ignore[method-assign]
    node.decided(first, 40)
    # Killed: it neither commits nor says goodbye, but here its connection is closed.
    first.client.close()
    node.consumers.remove(first)
    before = everything(node.client)
    again = node.consumer()
    node.turns(again, lambda: node.committed_by_all(40), "committed")
    assert everything(node.client) == before
    assert again.decided == 0


class TestHold:
    def test_not_loaded_waits_and_loses_nothing(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        node.send([body(n) for n in range(1, 11)])
        consumer = node.consumer()
        with running(consumer):
            wait_until(lambda: "HOLD: NOT_LOADED" in caplog.text, SOON_S, "the hold is told")
            node.send([body(n) for n in range(11, 21)])
            assert everything(node.client) == {}
            assert not any(node.committed().values())
            put_on_sale(node.client, {1001: 1000})
            wait_until(lambda: node.lane().decided == 20, SOON_S, "all decided")
        assert "going on" in caplog.text
        assert (node.lane().skipped, stock(node.client)) == (0, {1001: 980})
        assert node.committed() == {0: 20}
        node.consumers.clear()

    def test_a_full_redis_waits_and_loses_nothing(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        put_on_sale(node.client, {1001: 1000})
        consumer = node.consumer(batch_size=5)
        with running(consumer):
            node.send([body(n) for n in range(1, 11)])
            wait_until(lambda: node.lane().decided == 10, SOON_S, "the first ten")
            node.client.config_set("maxmemory", 1)
            try:
                node.send([body(n) for n in range(11, 31)], 0)
                node.send([body(n) for n in range(31, 41)], 1)
                wait_until(lambda: "HOLD: Redis is away" in caplog.text, SOON_S, "the hold")
                assert node.lane().decided == 10
            finally:
                node.client.config_set("maxmemory", 0)
            wait_until(lambda: node.lane().decided == 40, SOON_S, "all decided")
        assert (node.lane().skipped, stock(node.client)) == (0, {1001: 960})
        node.consumers.clear()

    def test_a_rewound_redis_decides_nothing(
        self, node: Node, caplog: pytest.LogCaptureFixture
    ) -> None:
        put_on_sale(node.client, {1001: 1000})
        node.send([body(n) for n in range(1, 11)])
        consumer = node.consumer()
        node.decided(consumer, 10)
        field = position_field(consumer.source, 0)
        node.client.hset(LANE.positions, field, 4)
        before = everything(node.client)
        node.send([body(n) for n in range(11, 21)])
        with running(consumer):
            wait_until(lambda: "REWOUND" in caplog.text, SOON_S, "the hold is told")
            assert "(partition 0: 4 < 10)" in caplog.text
            wait_until(lambda: node.lane().fence is not None, SOON_S, "the lane is fenced")
            after = everything(node.client)
            del after[LANE.state.encode()], before[LANE.state.encode()]
            assert after == before
        # A stop ends the hold; what was not decided is not committed.
        assert node.committed() == {0: 10}
        node.consumers.clear()

    def test_a_stop_in_a_hold_lets_nothing_overtake(self, node: Node) -> None:
        """The batch after the held one must not be decided alone: the held one would be skipped."""
        put_on_sale(node.client, {1001: 1000})
        node.send([body(n) for n in range(1, 7)])

        class Refusing(Engine):
            calls = 0

            def submit(self, batches: Sequence[Batch]) -> None:
                self.calls += 1
                if self.calls == 2:
                    consumer.shutdown.request()
                if self.calls <= 2:
                    raise RedisAway("not now")
                super().submit(batches)

        consumer = node.consumer(Refusing(node.server.redis_url, LANE), batch_size=2)
        consumer.run()
        node.consumers.clear()
        lane = node.lane()
        assert (lane.decided, lane.skipped) == (0, 0)
        assert not any(node.committed().values())
        successor = node.consumer()
        node.decided(successor, 6)
        assert node.lane().skipped == 0

    def test_answers_that_get_lost_are_asked_for_again(self, node: Node) -> None:
        """Done, and the answer lost: each batch comes twice, and counts once."""
        put_on_sale(node.client, {1001: 1000})
        node.send([body(n) for n in range(1, 21)] + [b"bad"])

        class Losing(Engine):
            calls = 0

            def collect(self) -> list[Reply]:
                replies = super().collect()
                self.calls += 1
                if self.calls % 2:
                    raise RedisAway("the answer was lost")
                return replies

        consumer = node.consumer(Losing(node.server.redis_url, LANE), batch_size=6)
        node.decided(consumer, 21)
        # The last answer too.
        consumer.run_once()
        node.ended(consumer)
        assert len(waiting(node.client)) == 20
        assert stock(node.client) == {1001: 980}
        assert node.committed() == {0: 21}


def test_bad_messages_are_parked_and_those_around_them_decided(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    # Kafka's own limit for one message is a megabyte, all included.
    bad = {name: (value or b"")[:900_000] if value else value for name, (value, _) in BAD.items()}
    sent: list[bytes | None] = [body(1)]
    for user, value in enumerate(bad.values(), 2):
        sent += [value, body(user)]
    others = {
        "UNKNOWN_ITEM": body(1, {9999: 1}),
        "NO_SUCH_ACTIVITY": body(1, activity_id=77),
        "ACCEPTED": body(1, at=now_ms() + HOUR_MS),
    }
    sent += others.values()
    node.send(sent)
    consumer = node.consumer()
    node.decided(consumer, len(sent))
    node.ended(consumer)
    lane = node.lane()
    outcomes = lane.activities[1].outcomes
    assert (lane.invalid, lane.no_such_activity, lane.skipped) == (len(bad), 1, 0)
    assert outcomes[Outcome.ACCEPTED] == len(bad) + 2
    assert outcomes[Outcome.UNKNOWN_ITEM] == 1
    assert node.committed() == {0: len(sent)}

    letters = read(node.server.brokers, dead_topic(node.server.topic), len(bad))
    source = node.topics.source(node.server.topic)
    for place, (letter, (name, value)) in enumerate(zip(letters, bad.items(), strict=True)):
        said = headers(letter)
        assert said["source"] == source
        assert (said["partition"], said["offset"]) == ("0", str(1 + 2 * place))
        assert BAD[name][1] in said["reason"], name
        if value is not None and len(value) > 16 * 1024:
            assert said["size"] == str(len(value))
            assert letter.value() == value[: 16 * 1024]
        else:
            assert "size" not in said
            # Kafka's library has one word for nothing and for empty.
            assert (letter.value() or b"") == (value or b"")


@pytest.mark.parametrize("committed", [0, 2], ids=["before any commit", "after one"])
def test_letters_of_a_killed_consumer_are_sent_by_the_next(node: Node, committed: int) -> None:
    """Decided and counted, and their letters were in memory alone: they are read again."""
    put_on_sale(node.client, {1001: 1000})
    if committed:
        node.send([body(1), body(2)])
        first = node.consumer()
        node.decided(first, committed)
        node.ended(first)
    node.send([body(3), b"no request", body(4)])

    def refuse() -> Producer:
        raise BrokerAway("not now")

    killed = node.consumer()
    killed.dead_letters = DeadLetters(node.server, refuse)
    node.decided(killed, committed + 3)
    killed.client.close()
    node.consumers.remove(killed)
    killed.engine.close()

    second = node.consumer()
    node.turns(second, lambda: node.committed_by_all(committed + 3), "committed")
    [letter] = read(node.server.brokers, dead_topic(node.server.topic), 1)
    assert headers(letter)["offset"] == str(committed + 1)
    assert (node.lane().invalid, node.lane().decided) == (1, committed + 3)


def test_a_message_without_a_body_comes_alone(node: Node) -> None:
    """A tombstone is a message too, also where nothing stands before or after it."""
    put_on_sale(node.client, {1001: 1000})
    consumer = node.consumer()
    for count, value in enumerate([None, b"", None, body(1)], 1):
        node.send([value])
        node.decided(consumer, count)
    assert (node.lane().invalid, node.lane().activities[1].success) == (3, 1)


def test_reset_offset_skips_on_purpose_and_says_what(node: Node) -> None:
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 6)], 0)
    first = node.consumer()
    node.decided(first, 5)
    node.ended(first)
    node.send([body(n) for n in range(6, 26)], 0)
    node.send([body(n) for n in range(26, 29)], 1)
    group = ConsumerGroup(node.server, node.client, node.topics, Shutdown(), LANE)
    assert group.lag(node.lane()) == 23
    assert group.skip_to_end() == {0: 20, 1: 3}
    assert group.skip_to_end() == {0: 0, 1: 0}
    assert group.lag(node.lane()) == 0
    lane = node.lane()
    assert (lane.decided, lane.skipped) == (5, 23)
    assert node.committed() == {0: 25, 1: 3}
    group.close()
    node.send([body(99)], 0)
    node.send([body(100)], 1)
    consumer = node.consumer()
    node.decided(consumer, 7)
    assert [r["user_id"] for r in waiting(node.client)][-2:] in ([99, 100], [100, 99])
    assert node.lane().skipped == 23


def test_nothing_can_be_skipped_where_nothing_is_loaded(node: Node) -> None:
    node.send([body(1)], 0)
    group = ConsumerGroup(node.server, node.client, node.topics, Shutdown(), LANE)
    with pytest.raises(Refused, match="NOT_LOADED"):
        group.skip_to_end()
    assert not any(node.committed().values())


@pytest.mark.parametrize("turns", [0, 4], ids=["at once", "later"])
def test_a_topic_made_again_is_a_new_one(node: Node, turns: int) -> None:
    """More messages than the old one had: at its old offset a client would just read on."""
    put_on_sale(node.client, {1001: 1000})
    node.send([body(n) for n in range(1, 6)], 0)
    consumer = node.consumer()
    node.decided(consumer, 5)
    before = node.topics.source(node.server.topic)
    node.topics.delete(node.server.topic)
    for _ in range(turns):
        assert consumer.run_once() == 0
    node.topics.ensure(node.server.topic, 2)
    after = node.topics.source(node.server.topic)
    assert after != before
    node.send([body(n) for n in range(11, 31)], 0)
    node.send([body(n) for n in range(31, 34)], 1)
    node.decided(consumer, 5 + 23)
    lane = node.lane()
    assert lane.skipped == 0
    assert lane.positions == {
        position_field(str(before), 0): 5,
        position_field(str(after), 0): 20,
        position_field(str(after), 1): 3,
    }
    by_source = Counter(record["source"] for record in waiting(node.client))
    assert by_source == {before: 5, after: 23}
    node.ended(consumer)
    assert node.committed() == {0: 20, 1: 3}


def test_two_consumers_and_a_zombie_decide_everything_once(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """A group of two, while a third, which the group does not know, repeats all from the start."""
    put_on_sale(node.client, {1001: 1500, 1002: 10**6}, user_limit=50)
    values = [body(1 + n % 97, {1001 + n % 2: 1 + n % 3}) for n in range(2000)]
    values[100] = values[1100] = b"bad"
    source = str(node.topics.source(node.server.topic))
    zombie = Engine(node.server.redis_url, LANE)
    with running(node.consumer(batch_size=50), node.consumer(batch_size=70)):
        wait_until(
            lambda: all(f"assigned partitions: [{n}]" in caplog.text for n in (0, 1)), SOON_S,
            "each of the two has a partition",
        )  # fmt: skip
        for low in range(0, 2000, 250):
            for partition in (0, 1):
                node.send(values[low : low + 125], partition)
            # The zombie has read the first messages of partition 0, and comes again and again.
            zombie.decide([encode(source, 0, 0, range(100), values[:100])])
        wait_until(lambda: node.lane().decided == 2000, SOON_S, "all decided")
    zombie.decide([encode(source, 0, 0, range(100), values[:100])])
    zombie.close()
    node.consumers.clear()
    lane = node.lane()
    assert (lane.decided, lane.skipped, sum(lane.positions.values())) == (2000, 0, 2000)
    records = waiting(node.client)
    assert len({(r["partition"], r["offset"], r["item_id"]) for r in records}) == len(records)
    assert lane.activities[1].success == lane.activities[1].records == len(records)
    for item, units in lane.activities[1].items.items():
        assert units.sold == sum(r["quantity"] for r in records if r["item_id"] == item)
    bought: Counter[int] = Counter()
    for record in records:
        bought[record["user_id"]] += record["quantity"]
    assert max(bought.values()) <= 50
