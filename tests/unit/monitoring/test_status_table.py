"""The table of `manage.py status`: what it says of troubles in Kafka."""

from io import StringIO

from rich.console import Console

from seckill.monitoring.status_table import Look, table
from seckill.telemetry.heartbeats import LETTERS_LOST, Kind, Worker
from seckill.telemetry.history import Sample
from tests.helpers.figures import EMPTY


def text(sample: Sample | None = None, **counts: int) -> str:
    worker = Worker(Kind.CONSUMER, "host:1", 0, 0, 0, 0, "", counts)
    out = StringIO()
    Console(file=out, width=200).print(table(Look(EMPTY, [worker], None, 0, sample)))
    return out.getvalue()


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
