"""The settlers' status line, and the row of holds in `manage.py status`."""

from seckill.lane.settle_status import ActivityHolds, SettleStatus
from seckill.monitoring.status_table import _holds
from seckill.settler.group import status_line


def seen(held: int = 3, overdue: int = 0, **messages: int) -> SettleStatus:
    activity = ActivityHolds(held, paid=2, expired=1, units_returned=4, overdue=overdue)
    return SettleStatus(0, {}, {}, messages, {1: activity})


def test_all_is_well() -> None:
    line = status_line(seen(paid=2), rate=1200.4, lag=0, settlers=2)
    assert line == (
        "[status] held 3 | paid 2 | given back 0 | expired 1 | units returned 4 | settled 2 | "
        "1,200/s | lag 0 | settlers 2"
    )


def test_what_is_odd_is_named() -> None:
    odd = seen(overdue=1, paid=2, too_late=1, invalid=5)
    line = status_line(odd, rate=0, lag=None, blocked="4 behind", settlers=0)
    assert "held 3 (1 overdue) |" in line
    assert "settled 8 (too late 1, invalid 5) |" in line
    assert "lag unknown (Kafka is away) (4 behind) |" in line


def test_the_row_of_holds() -> None:
    assert _holds(seen(), "main").plain.endswith("expired 1 | units returned 4")
    late = _holds(seen(overdue=1, not_held=2), "north")
    assert late.plain.endswith(
        "not held 2 | 1 overdue: manage.py run_settler --lane north has not read all that Kafka has"
    )
    assert late.style == "bold red"
    assert not SettleStatus(0, {}, {}, {}, {}).known
