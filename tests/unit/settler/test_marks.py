"""Read marks: which of them a position has reached, whatever the order of answers."""

from seckill.lane.holds import ReadMark
from seckill.settler.marks import MOST, Marks

HERE, THERE = ("source", 0), ("source", 1)


def test_the_latest_mark_that_is_reached_counts() -> None:
    marks = Marks()
    for asked_ms, end in ((1, 10), (2, 20), (3, 30)):
        marks.add(HERE, ReadMark(asked_ms, end))
    assert marks.reached(HERE, 9) is None
    assert marks.reached(HERE, 29) == ReadMark(2, 20)
    # A call that failed asks again.
    assert marks.reached(HERE, 29) == ReadMark(2, 20)
    assert marks.reached(HERE, 30) == ReadMark(3, 30)
    assert marks.reached(THERE, 30) is None


def test_an_end_that_turns_out_to_hold_no_message_is_passed_over() -> None:
    marks = Marks()
    marks.add(HERE, ReadMark(1, 11))
    marks.add(HERE, ReadMark(2, 10))
    assert marks.reached(HERE, 10) == ReadMark(2, 10)


def test_a_long_backlog_keeps_few_marks_and_the_oldest() -> None:
    marks = Marks()
    for n in range(10 * MOST):
        marks.add(HERE, ReadMark(n, n))
    assert marks.reached(HERE, 0) == ReadMark(0, 0)
    assert marks.reached(HERE, 10 * MOST) == ReadMark(10 * MOST - 1, 10 * MOST - 1)


def test_another_topic_begins_anew() -> None:
    marks = Marks()
    marks.add(HERE, ReadMark(1, 0))
    marks.keep({THERE})
    assert marks.reached(HERE, 5) is None
