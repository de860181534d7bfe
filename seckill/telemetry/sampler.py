"""Writes the history of a lane: one sample per second while consumers run. Decides nothing.

It has its own threads, so a service that is away never delays the restart of a consumer. What
cannot be read or written is left out: this never disturbs the sale.
"""

import logging
import threading
from dataclasses import dataclass, field

import redis

from seckill.errors import RedisAway
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.process.events import event
from seckill.telemetry.history import append_sample, sample_of
from seckill.telemetry.lag import LagWatch

log = logging.getLogger(__name__)

# Seconds between two samples.
SAMPLE_S = 1.0
# Seconds that `close` waits for a thread that talks to a service.
STOP_S = 2.0


@dataclass
class Sampler:
    """The consumers' parent calls `start` and `close`. `run_once` writes one sample."""

    client: "redis.Redis"
    lane: Lane
    watch: LagWatch

    written: int = 0
    _failing: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Samples written, for the heartbeat."""
        return {"samples": self.written}

    def check(self) -> None:
        """A bug in a thread ends the history, never the sale."""

    def start(self) -> None:
        """Start both threads."""
        for name, work in (("lag", self.watch.run), ("samples", self._run)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def run_once(self) -> bool:
        """One sample. False if another parent wrote this second's sample, or Redis is away."""
        try:
            lane = read_lane(self.client, self.lane)
            lag = self.watch.lag(lane.positions)
            sample = sample_of(lane, lag, blocked=self.watch.blocked())
            written = append_sample(self.client, self.lane, sample)
        except (RedisAway, redis.RedisError) as lost:
            if not self._failing:
                log.warning(
                    "the history has a gap (%s); the sale goes on",
                    lost,
                    extra=event("no-sample"),
                )
            self._failing = True
            return False
        self._failing = False
        self.written += written
        return written

    def close(self) -> None:
        """Stop both threads. A thread that still waits for a service is left behind."""
        self.watch.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.run_once()
