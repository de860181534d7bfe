"""The open loop: sends what is due, whatever happened to earlier requests.

Owns the clock of a run. The schedule never slows down. If Kafka or this machine cannot keep up,
requests keep their intended times and are sent late, and the lateness is reported. The initiation
time of each request is its intended time, so that a stalled system cannot hide its delay.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from loadgen.buyers import Kind
from loadgen.plan import Load
from loadgen.report import Lateness, Report, Tally, report_of
from seckill.broker.producer import Producer

# Requests between two checks of clock, signals and acknowledgements.
CHUNK = 256
# The shortest sleep in seconds makes a high rate go out in small bursts, not in a busy loop. The
# longest one makes sure that acknowledgements are served.
SHORTEST_S, LONGEST_S = 0.001, 0.1
# Seconds between two calls of `on_progress`.
PROGRESS_S = 0.2
# Seconds from opening a producer to the start of the schedule. librdkafka requests the producer id
# that it needs at once, and if its connection is not up by then, again after 0.5 s. Requests that
# are due earlier would be late through no fault of the system under test.
LEAD_S = 0.7
# Seconds to wait for the last acknowledgements, at the end of the plan and after a signal.
FLUSH_S, FLUSH_STOPPED_S = 60.0, 10.0


class Stop(Protocol):
    """What the loop needs of `seckill.process.shutdown.Shutdown`."""

    @property
    def requested(self) -> bool:
        """True if the run must end."""

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake on a stop request."""


@dataclass(frozen=True)
class Progress:
    """The state of a run. Counts are of this run only."""

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
    """Send the whole load with `send`. `topic` is only for the report."""
    return report_of(load, topic, [send(load, producer, shutdown, on_progress, start_at)])


def send(
    load: Load,
    producer: Producer,
    shutdown: Stop,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    start_at: float | None = None,
) -> Tally:
    """Send the whole load, or until a stop is requested; then wait for the acknowledgements.

    Runs on the calling thread, and calls `on_progress` there a few times per second. The producer
    stays open. `start_at`: the time (s since the epoch) at which the schedule starts.
    """
    pacer, buyers, total = load.pacer, load.buyers(), load.requests
    delivered_before, failed_before = producer.delivered, producer.failed
    lateness = Lateness()
    sent, blocked_s, told_at = 0, 0.0, 0.0
    wall_s = time.time()
    start_at = wall_s if start_at is None else start_at
    wall_ms = start_at * 1000
    # Before a start in the future the elapsed time is negative, and nothing is due.
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
