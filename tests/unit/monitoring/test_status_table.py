"""The table of `manage.py status`: what it says of troubles in Kafka."""

from io import StringIO

from rich.console import Console

from seckill.monitoring.look import Look
from seckill.monitoring.status_table import table
from seckill.monitoring.verdict import judge
from seckill.telemetry.heartbeats import LETTERS_LOST, Kind, Worker
from seckill.telemetry.history import Sample
from tests.helpers.figures import EMPTY


def text(sample: Sample | None = None, **counts: int) -> str:
    worker = Worker(Kind.CONSUMER, "host:1", 0, 0, 0, 0, "", counts)
    out = StringIO()
    Console(file=out, width=200).print(
        table(Look("main", EMPTY, [worker], None, 0, judge(EMPTY), sample))
    )
    return out.getvalue()


def test_the_verdict_comes_first() -> None:
    first = "Nothing is loaded in Redis: nothing is decided, what waits in Kafka is not known"
    assert text().splitlines()[0].rstrip() == first


def test_a_lag_that_nobody_tells_of() -> None:
    assert "lag unknown (no consumer reports it)" in text()
    assert "lag 7 " in text(Sample(lag={0: 3, 1: 4}))


def test_requests_behind_a_transaction() -> None:
    sample = Sample(lag={0: 10}, blocked={0: 9}, blocked_by="partition 0: 9 blocked by [bold]me")
    assert "Kafka hides requests: partition 0: 9 blocked by [bold]me." in text(sample)
    assert "hides" not in text(Sample(lag={0: 10}))


def test_dead_letters_that_were_given_up() -> None:
    assert "host:1 alive (1,234 dead letters given up)" in text(**{LETTERS_LOST: 1234})
    assert "given up" not in text(**{LETTERS_LOST: 0})


def door_line(board_age_ms: int, **counts: int) -> str:
    worker = Worker(Kind.DOOR, "host:2", 0, 0, 0, 0, "", {**counts, "board_age_ms": board_age_ms})
    out = StringIO()
    Console(file=out, width=400).print(table(Look("main", EMPTY, [worker], None, 0, judge(EMPTY))))
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("door ")]
    return line.rstrip()


def test_a_door_has_a_line() -> None:
    counts = {"shed": 1000, "acknowledged": 20, "unknown": 3, "told_accepted": 5, "waiting": 9}
    durations = {"acknowledge_ms": 80, "acknowledge_from_4": 20, "refused_401": 2, "refused_429": 4}
    assert door_line(200, **counts, **durations) == (
        "door host:2: clicks 1,023 (shed 1,000, repeated 0, acknowledged 20, not taken 0, "
        "unknown 3) | told accepted 5 | refused calls 6 | waiting 9 | acknowledged in 4 ms on "
        "average"
    )
    assert door_line(6_000).endswith("| waiting 0 | can read no answer, for 6 s")
    assert "host:1" in text()
    assert "door" not in text()
