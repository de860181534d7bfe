"""The open loop: sends what is due, whatever happened to what was sent before.

Owns the clock of a run. Never slows the schedule: when Kafka or this machine cannot follow,
requests keep their intended times, go out late, and the lateness is reported. Each request's time
of initiation is its intended one, so that a system that stalls cannot hide it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loadgen.buyers import Kind
from loadgen.plan import Load
from loadgen.report import Lateness, Report, Tally, report_of
from seckill.broker.producer import Producer

# Requests between two looks at clock, signals and acknowledgements.
CHUNK = 256
# Seconds: the shortest sleep, so that a high rate comes in small bursts and not in a busy loop, and
# the longest, so that acknowledgements are served.
SHORTEST_S, LONGEST_S = 0.001, 0.1
# Seconds between two calls of `on_progress`.
PROGRESS_S = 0.2
# Seconds from a producer's opening to the schedule's start. librdkafka asks at once for the id that
# it needs to send at all, and where its connection is not up by then, again after 0.5 s: what is
# due until then would be late by no fault of the system that is measured.
LEAD_S = 0.7
# Seconds for the last acknowledgements, at the end of the plan and after a signal.
FLUSH_S, FLUSH_STOPPED_S = 60.0, 10.0


class Stop(Protocol):
    """What the loop needs of `seckill.process.shutdown.Shutdown`."""

    @property
    def requested(self) -> bool:
        """True when the run shall end."""

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past the request to stop."""


@dataclass(frozen=True)
class Progress:
    """Where a run is. Counts are of this run alone."""

    elapsed_s: float
    total: int
    due: int
    sent: int
    delivered: int
    failed: int
    blocked: bool
    last_error: str


def run(
    load: Load,
    producer: Producer,
    shutdown: Stop,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    topic: str = "",
    start_at: float | None = None,
) -> Report:
    """Send the whole load as `send` does. `topic` is only what the report says."""
    return report_of(load, topic, [send(load, producer, shutdown, on_progress, start_at)])


def send(
    load: Load,
    producer: Producer,
    shutdown: Stop,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    start_at: float | None = None,
) -> Tally:
    """Send the whole load, or until a stop is asked for; then wait for the acknowledgements.

    Runs on the calling thread, and calls `on_progress` on it a few times a second. The producer
    stays open. `start_at`: the time (s since the epoch) that the schedule counts from.
    """
    pacer, buyers, total = load.pacer, load.buyers(), load.requests
    delivered_before, failed_before = producer.delivered, producer.failed
    lateness = Lateness()
    sent, blocked_s, told_at = 0, 0.0, 0.0
    wall_s = time.time()
    start_at = wall_s if start_at is None else start_at
    wall_ms = start_at * 1000
    # A start that is yet to come is a time before 0, at which nothing is due.
    began = time.perf_counter() + start_at - wall_s

    def tell(now: float, blocked: bool) -> float:
        on_progress(
            Progress(
                elapsed_s=now,
                total=total,
                due=pacer.due(now),
                sent=sent,
                delivered=producer.delivered - delivered_before,
                failed=producer.failed - failed_before,
                blocked=blocked,
                last_error=producer.last_error,
            )
        )
        return now

    while sent < total and not shutdown.requested:
        now = time.perf_counter() - began
        waiting = pacer.due(now) - sent
        if waiting <= 0:
            pause = min(max(pacer.intended(sent) - now, SHORTEST_S), LONGEST_S)
            shutdown.wait(pause)
            producer.room()
            room = 1
        else:
            room = producer.room()
            if room <= 0:
                room = producer.room(LONGEST_S)
                blocked_s += time.perf_counter() - began - now
            times = pacer.times(sent, min(waiting, room, CHUNK)) if room > 0 else []
            for body in buyers.draw([int(wall_ms + due_s * 1000) for due_s in times]):
                producer.send(body)
            if times:
                late_s = time.perf_counter() - began - times[0]
                lateness.add(late_s * 1000, len(times))
                sent += len(times)
        if now - told_at >= PROGRESS_S:
            told_at = tell(now, blocked=room <= 0)
    seconds = time.perf_counter() - began

    stopped = shutdown.requested
    deadline = time.perf_counter() + (FLUSH_STOPPED_S if stopped else FLUSH_S)
    while (left := producer.flush(PROGRESS_S)) and time.perf_counter() < deadline:
        tell(time.perf_counter() - began, blocked=True)
        if shutdown.requested and not stopped:
            stopped = True
            deadline = time.perf_counter() + FLUSH_STOPPED_S
    tell(time.perf_counter() - began, blocked=False)
    return Tally(
        sent=sent,
        delivered=producer.delivered - delivered_before,
        failed=producer.failed - failed_before,
        unacknowledged=left,
        seconds=seconds,
        blocked_seconds=blocked_s,
        lateness=lateness,
        kinds={kind.name.lower(): buyers.counts[kind] for kind in Kind},
        stopped=stopped,
        last_error=producer.last_error,
    )
