"""The open loop on a producer that keeps what it gets: schedule, stops, counts, and their words."""

import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from loadgen.plan import Load, make_load
from loadgen.profile_file import parse_profile
from loadgen.progress import Lines, display_for
from loadgen.report import Lateness, Report, Tally, report_of
from loadgen.sender import CHUNK, Progress, run, send
from seckill.broker.producer import Done
from seckill.config.sections import Client
from seckill.process.shutdown import Shutdown


class Keeper:
    """A producer that misbehaves as told: `full_for` looks without room, `lost` never answered."""

    def __init__(self, *, full_for: int = 0, lost: int = 0, fail_each: int = 0) -> None:
        self.values: list[bytes | None] = []
        self.delivered = 7
        self.failed = 3
        self.last_error = "an old trouble"
        self.full_for = full_for
        self.lost = lost
        self.fail_each = fail_each
        self.on_send: Callable[[], None] = lambda: None

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: Done | None = None,
    ) -> None:
        self.values.append(value)
        if self.fail_each and len(self.values) % self.fail_each == 0:
            self.failed += 1
        elif self.lost and len(self.values) <= self.lost:
            return
        else:
            self.delivered += 1
        self.on_send()

    def room(self, timeout_s: float = 0.0) -> int:
        if self.values and self.full_for > 0:
            self.full_for -= 1
            threading.Event().wait(timeout_s / 10)
            return 0
        return 50

    def flush(self, timeout_s: float) -> int:
        return self.lost

    def close(self) -> None:
        raise AssertionError("the producer belongs to the caller")


def small_load(rate: float = 100_000, requests: int = 2_000, **keys: Any) -> Load:
    return make_load(
        Client(), parse_profile({"rate": rate, "requests": requests, **keys}, "test"), seed=3
    )


def times_of(values: list[bytes | None]) -> list[int]:
    return [json.loads(value)["request_initiation_time"] for value in values if value is not None]


@pytest.mark.parametrize("full_for", [0, 9])
def test_each_request_carries_its_intended_time_however_late_it_goes(full_for: int) -> None:
    load = small_load()
    producer = Keeper(full_for=full_for)
    report = run(load, producer, Shutdown(), topic="t")
    assert (report.sent, report.delivered, report.failed) == (2000, 2000, 0)
    offsets = [int(due * 1000) for due in load.pacer.times(0, 2000)]
    times = times_of(producer.values)
    # Both are cut to whole ms, so they may differ by one.
    pairs = zip(times, offsets, strict=True)
    assert all(abs((t - times[0]) - (o - offsets[0])) <= 1 for t, o in pairs)
    assert (report.blocked_seconds > 0) == (full_for > 0)
    assert report.planned == 2000
    assert report.topic == "t"
    assert report.last_error == ""


def test_no_request_goes_before_its_time() -> None:
    load = small_load(rate=2_000, requests=200)
    producer = Keeper()
    sent_at_ms: list[float] = []
    producer.on_send = lambda: sent_at_ms.append(time.time() * 1000)
    seen: list[Progress] = []
    run(load, producer, Shutdown(), seen.append)
    pairs = zip(sent_at_ms, times_of(producer.values), strict=True)
    assert all(sent >= intended - 1 for sent, intended in pairs)
    assert all(progress.sent <= progress.due for progress in seen)
    assert seen[-1].sent == 200


def test_the_same_load_again_sends_the_same() -> None:
    load = small_load(multi={"share": 0.3}, malformed={"share": 0.1})
    producers = [Keeper(), Keeper(full_for=4)]
    reports = [run(load, producer, Shutdown()) for producer in producers]
    assert reports[0].kinds == reports[1].kinds
    assert sum(reports[0].kinds.values()) == 2000
    users = [
        [value and value.partition(b',"request_init')[0] for value in producer.values]
        for producer in producers
    ]
    assert users[0] == users[1]


def test_a_stop_ends_the_sending_and_is_reported() -> None:
    shutdown = Shutdown()
    producer = Keeper()

    def stop_after_300() -> None:
        if len(producer.values) == 300:
            shutdown.request()

    producer.on_send = stop_after_300
    report = run(small_load(rate=1_000_000, requests=50_000), producer, shutdown)
    assert report.stopped
    assert 300 <= report.sent < 300 + CHUNK
    assert report.sent == len(producer.values) == sum(report.kinds.values())


def test_failed_and_unanswered_ones_are_counted_from_this_run_alone() -> None:
    report = run(small_load(requests=100), Keeper(fail_each=10), Shutdown())
    assert (report.delivered, report.failed, report.complete) == (90, 10, False)
    assert report.last_error == "an old trouble"


def test_missing_answers_are_given_up_after_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadgen.sender.FLUSH_S", 0.0)
    report = run(small_load(requests=100), Keeper(lost=5), Shutdown())
    assert (report.delivered, report.unacknowledged, report.complete) == (95, 5, False)
    assert not report.stopped


@given(st.lists(st.tuples(st.floats(-5, 20_000_000), st.integers(1, 500)), max_size=30))
def test_lateness_percentiles_are_within_a_step_of_the_truth(
    entries: list[tuple[float, int]],
) -> None:
    lateness = Lateness()
    values: list[float] = []
    for late_ms, count in entries:
        lateness.add(late_ms, count)
        values += [max(late_ms, 0.0)] * count
    values.sort()
    if not values:
        assert lateness.percentile_ms(99) == lateness.max_ms == 0
        return
    assert lateness.max_ms == values[-1]
    truth = values[max(0, -(-len(values) * 99 // 100) - 1)]
    found = lateness.percentile_ms(99)
    step = 1 if truth < 10_000 else 1000
    assert found == lateness.max_ms or truth <= found <= truth + step
    assert found <= lateness.max_ms


def test_several_processes_are_added_up_and_the_latest_of_them_counts() -> None:
    quick, slow = Lateness(), Lateness()
    quick.add(1.0, 980)
    slow.add(5_000.0, 20)
    kinds = {"normal": 10, "multi": 1}
    tally = Tally(980, 975, 5, 0, 2.0, 0.5, quick, kinds, False, "too large")
    other = Tally(20, 18, 0, 2, 2.5, 1.5, slow, kinds, True, "no answer")
    report = report_of(small_load(rate=500, requests=1000), "t", [tally, other])
    assert (report.sent, report.delivered, report.failed) == (1000, 993, 5)
    assert (report.unacknowledged, report.planned, report.processes) == (2, 1000, 2)
    assert (report.seconds, report.blocked_seconds, report.stopped) == (2.5, 1.5, True)
    # A mean of the two would hide the 2 % that were late: 99 % of all are within 5 s, not 2.5.
    assert (report.lateness_p99_ms, report.lateness_max_ms, report.late) == (5_000, 5_000, True)
    assert report.kinds == {"normal": 20, "multi": 2}
    assert report.last_error == "too large"


def test_the_start_can_be_a_time_that_is_yet_to_come() -> None:
    producer = Keeper()
    start_at = time.time() + 2
    tally = send(small_load(requests=10), producer, Shutdown(), start_at=start_at)
    assert time.time() >= start_at
    times = times_of(producer.values)
    assert times[0] == int(start_at * 1000 + load_times()[0] * 1000)
    # Waiting for the start is no lateness.
    assert tally.sent == 10
    assert tally.lateness.max_ms < 2000


def load_times() -> list[float]:
    """When the first requests of `small_load` are due."""
    return small_load(requests=10).pacer.times(0, 10)


def a_report(**changes: Any) -> Report:
    figures: dict[str, Any] = {
        "profile": "spike",
        "seed": 5,
        "topic": "t",
        "planned": 100,
        "sent": 100,
        "delivered": 100,
        "failed": 0,
        "unacknowledged": 0,
        "seconds": 2.0,
        "intended_rate": 50.0,
        "achieved_rate": 50.0,
        "lateness_p99_ms": 1.0,
        "lateness_max_ms": 2.0,
        "late": False,
        "blocked_seconds": 0.0,
        "kinds": {"normal": 99, "multi": 0, "repeated": 0, "stale": 0, "malformed": 1},
        "stopped": False,
        "last_error": "",
    }
    return Report(**{**figures, **changes})


def test_the_names_in_the_json_are_a_contract() -> None:
    document = json.loads(a_report().as_json())
    assert list(document) == [
        *("schema", "profile", "seed", "topic", "planned", "sent", "delivered", "failed"),
        *("unacknowledged", "seconds", "intended_rate", "achieved_rate", "lateness_p99_ms"),
        *("lateness_max_ms", "late", "blocked_seconds", "kinds", "stopped", "last_error"),
        "processes",
    ]
    assert list(document["kinds"]) == ["normal", "multi", "repeated", "stale", "malformed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"stopped": True}, "Stopped by a signal"),
        ({"late": True}, "this machine could not send as fast"),
        ({"late": True, "blocked_seconds": 1.5}, "Kafka accepted no more for 1.5 s"),
        ({"failed": 2, "last_error": "too large"}, "Not everything reached Kafka: too large"),
        ({"unacknowledged": 2}, "Not everything reached Kafka: no answer in time"),
    ],
)
def test_the_table_tells_what_a_reader_has_to_know(
    changes: dict[str, Any], words: str | None
) -> None:
    out = io.StringIO()
    a_report(**changes).print_table(Console(file=out, width=100))
    text = out.getvalue()
    assert "spike, 5" in text
    assert "multi" not in text
    after = text.rpartition("┘")[2].strip()
    assert after == "" if words is None else words in after


def progress(elapsed_s: float, sent: int, *, blocked: bool = False) -> Progress:
    return Progress(elapsed_s, 1000, sent, sent, sent, 0, blocked, "")


def lines_for(*steps: Progress) -> list[str]:
    out = io.StringIO()
    with Lines(Console(file=out, width=60)) as lines:
        for step in steps:
            lines(step)
    return out.getvalue().splitlines()


def test_a_plain_line_each_five_seconds() -> None:
    steps = [progress(n / 10, n) for n in range(1, 121)]
    lines = lines_for(*steps)
    assert len(lines) == 2
    assert lines[0].startswith("5 s: sent 50 of 1,000, due 50, 10/s")


def test_blocked_is_told_once_and_so_is_its_end() -> None:
    steps = [progress(n / 10, 5, blocked=10 <= n < 40) for n in range(1, 49)]
    lines = lines_for(*steps)
    assert len(lines) == 2
    assert "Kafka acknowledges too slowly: 0 in flight" in lines[0]
    assert "accepts requests again" in lines[1]


def test_a_bar_on_a_terminal_and_nothing_when_quiet() -> None:
    out = io.StringIO()
    with display_for(Console(file=out, force_terminal=True, width=120), quiet=False) as bar:
        bar(progress(1, 400))
        bar(progress(2, 1000, blocked=True))
    assert "1000/1000" in out.getvalue()
    assert "Kafka accepts no more" in out.getvalue()
    quiet = io.StringIO()
    with display_for(Console(file=quiet, force_terminal=True), quiet=True) as nothing:
        nothing(progress(1, 400))
    assert quiet.getvalue() == ""
