"""Writes the history of a lane: one sample a second, while consumers run. Decides nothing.

On threads of its own: a service that is away delays no restart of a consumer. What it cannot read
or write is left out; it never disturbs the sale.
"""

import logging
import threading
from dataclasses import dataclass, field

import redis

from seckill.errors import RedisAway
from seckill.events import event
from seckill.keys import Lane
from seckill.lag import LagWatch
from seckill.series import append_sample, sample_of
from seckill.stats import read_lane

log = logging.getLogger(__name__)

# Seconds between two samples.
SAMPLE_S = 1.0
# Seconds that the end waits for a thread that talks to a service.
STOP_S = 2.0


@dataclass
class Sampler:
    """`start` and `close` belong to the parent of the consumers; `run_once` is one sample."""

    client: "redis.Redis"
    lane: Lane
    watch: LagWatch

    written: int = 0
    _failing: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to look and to write."""
        for name, work in (("lag", self.watch.run), ("samples", self._run)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def run_once(self) -> bool:
        """One sample; False when another parent wrote this second's, or Redis is away."""
        try:
            lane = read_lane(self.client, self.lane)
            lag = self.watch.lag(lane.positions)
            sample = sample_of(lane, lag, blocked=self.watch.blocked())
            written = append_sample(self.client, self.lane, sample)
        except (RedisAway, redis.RedisError) as lost:
            if not self._failing:
                log.warning(
                    "the history has a gap (%s); the sale goes on without",
                    lost,
                    extra=event("no-sample"),
                )
            self._failing = True
            return False
        self._failing = False
        self.written += written
        return written

    def close(self) -> None:
        """End both; a thread that still waits for a service is left behind."""
        self.watch.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.run_once()
