"""All webhooks of a process: they run beside each other; heartbeat and status line tell of them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from seckill.errors import BrokerAway
from seckill.events.hook import Hook
from seckill.process.shutdown import Shutdown

# Seconds between two looks at a stop, and at how much waits in Kafka.
LOOK_S, LAG_S = 0.2, 5.0


@dataclass
class Webhooks:
    """Runs hooks until a stop. `lag` asks Kafka how many messages some have not committed."""

    hooks: Sequence[Hook]
    lag: Callable[[Sequence[Hook]], int]
    shutdown: Shutdown
    status_interval_s: float = 60.0
    say: Callable[[str], None] = print
    # Called with each look.
    beat: Callable[["Webhooks"], None] = lambda webhooks: None
    # Messages in Kafka that are not done, of all hooks; -1: not known.
    behind: int = -1

    @property
    def hold(self) -> str:
        """Why events wait, or ""."""
        return "; ".join(hook.hold for hook in self.hooks if hook.hold)

    def total(self, what: str) -> int:
        """`delivered`, `failed` or `dead` of all hooks."""
        return sum(getattr(hook, what) for hook in self.hooks)

    async def run(self, *, drain: bool = False) -> None:
        """Until a stop is requested or, with `drain`, until nothing waits."""
        next_status, next_lag = time.monotonic() + self.status_interval_s, 0.0
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            tasks = [asyncio.create_task(hook.run(session)) for hook in self.hooks]
            while not self.shutdown.requested:
                if time.monotonic() >= next_lag:
                    self.behind = await asyncio.to_thread(self._behind)
                    next_lag = time.monotonic() + (LOOK_S if drain else LAG_S)
                if time.monotonic() >= next_status:
                    self.say(self.status_line())
                    next_status = time.monotonic() + self.status_interval_s
                await asyncio.to_thread(self.beat, self)
                if any(task.done() and task.exception() for task in tasks):
                    break
                if drain and (self.behind == 0 or all(hook.gone for hook in self.hooks)):
                    break
                await asyncio.sleep(LOOK_S)
            for hook in self.hooks:
                hook.stop()
            await asyncio.gather(*tasks)
        self.say(self.status_line())

    def status_line(self) -> str:
        """What was delivered, what fails, what waits."""
        waiting = "unknown (Kafka is away)" if self.behind < 0 else f"{self.behind:,}"
        parts = [
            f"delivered {self.total('delivered'):,}",
            f"failed attempts {self.total('failed'):,}",
            f"dead {self.total('dead'):,}",
            f"waiting {waiting}",
            *([self.hold] if self.hold else []),
        ]
        return "[webhooks] " + " | ".join(parts)

    def _behind(self) -> int:
        try:
            hooks = [hook for hook in self.hooks if not hook.gone]
            return self.lag(hooks) if hooks else 0
        except BrokerAway:
            return -1
