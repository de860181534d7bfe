"""What an intake keeps of each partition while things change around it, and when it waits."""

from typing import Any

import pytest

from seckill.broker import Slice
from seckill.consumer.intake import AGAIN_S, Intake, Placed
from seckill.errors import BrokerAway
from seckill.process.shutdown import Shutdown

NOBODY: Any = None


class Waits(Shutdown):
    """Waits for nothing, and notes for how long; `most` waits are a stop."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.most, self.seconds = most, list[float]()

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        if len(self.seconds) == self.most:
            self.request()
        return self.requested


class Member:
    """A client of which the test says what it has, and whether Kafka is away."""

    def __init__(self) -> None:
        self.changes, self.partitions = 0, {0, 1}
        self.away, self.resumed = False, 0

    def assignments(self) -> tuple[int, frozenset[int]]:
        return self.changes, frozenset(self.partitions)

    def poll(self, timeout_s: float, most: int) -> list[Slice]:
        self.fail()
        return [some(0), some(1)]

    def resume(self) -> None:
        self.resumed += 1
        self.fail()

    def fail(self) -> None:
        if self.away:
            raise BrokerAway("not now")


def some(partition: int) -> Slice:
    return Slice(partition, [7, 8], [b"", b""])


def intake(client: Any, shutdown: Shutdown | None = None) -> Intake:
    return Intake(client, shutdown or Shutdown(), NOBODY, NOBODY, batch_size=10)


def test_a_partition_that_moves_takes_its_own_messages_along() -> None:
    it = intake(NOBODY)
    it._stash, it.placed = [some(0), some(1), some(0), some(2)], {0: Placed(7, 7), 1: Placed(7, 7)}
    it.go_to(0, 3, generation=2)
    assert it.placed == {0: Placed(3, 3, 2), 1: Placed(7, 7)}
    assert it._stash == [some(1), some(2)]
    assert it._unplaced == {0}


def test_of_another_topic_all_is_read_from_the_start() -> None:
    """Nothing is decided of it yet, and nothing committed."""
    it = intake(Member())
    it._stash, it.placed = [some(0)], {0: Placed(7, 7, 1, 7), 5: Placed(9, 9)}
    it.begin_anew()
    assert it.placed == {0: Placed(0, 0), 1: Placed(0, 0)}
    assert (it._stash, it._unplaced) == ([], {0, 1})


def test_after_a_change_no_message_passes_before_its_partition_has_its_place() -> None:
    member = Member()
    it = intake(member)
    assert it.poll(0, []) == []
    assert (it._unplaced, member.resumed) == ({0, 1}, 1)
    it._unplaced, it.placed = set(), {0: Placed(7, 7), 1: Placed(7, 7)}
    assert it.poll(0, []) == [some(0), some(1)]
    assert member.resumed == 1
    # Partition 1 was taken away, and its messages still come.
    member.changes, member.partitions = 1, {0}
    it._stash = [some(1), some(0)]
    assert it.poll(0, []) == []
    assert (it.placed, it._unplaced, member.resumed) == ({}, {0, 1}, 2)


def test_a_change_that_comes_while_kafka_is_away_is_noticed_all_the_same() -> None:
    member, waits = Member(), Waits()
    member.away = True
    it = intake(member, waits)
    assert it.poll(0, []) == []
    assert (it._unplaced, member.resumed) == ({0, 1}, 1)
    assert waits.seconds == [AGAIN_S]


@pytest.mark.parametrize("times", [0, 3])
def test_a_question_is_asked_until_kafka_answers(times: int) -> None:
    waits = Waits()

    def question() -> str:
        if len(waits.seconds) < times:
            raise BrokerAway("not now")
        return "answer"

    assert intake(NOBODY, waits)._ask(question) == "answer"
    assert waits.seconds == [AGAIN_S] * times


def test_a_question_is_given_up_at_a_stop() -> None:
    waits = Waits(2)

    def question() -> str:
        raise BrokerAway("not now")

    with pytest.raises(BrokerAway):
        intake(NOBODY, waits)._ask(question)
    assert waits.seconds == [AGAIN_S] * 2
