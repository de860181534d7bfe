"""The parent of `run_settler`'s consumers. It also lets holds expire, on a thread of its own."""

from dataclasses import dataclass
from typing import ClassVar

from seckill.broker import BrokerAway
from seckill.broker.topics import Topics
from seckill.config.sections import Settler
from seckill.consumer.child import Asker
from seckill.consumer.children import Work
from seckill.consumer.guard import Guard
from seckill.consumer.parent import Beside, Parent
from seckill.errors import RedisAway
from seckill.lane.client import connect
from seckill.lane.settle_status import SettleStatus, read_positions, read_settle_status
from seckill.lane.status import read_lane
from seckill.settler.child import of_settlements, settle
from seckill.settler.expiry import Expiry
from seckill.telemetry.heartbeats import Kind, worker_id


@dataclass
class SettlerGroup(Parent):
    """See `Parent`. `server` is the section of the settlements: see `Settler.of_settlements`."""

    server: Settler
    kind: ClassVar[Kind] = Kind.SETTLER_PARENT

    # Clean turns of the expiry when all was first seen to be settled, in a drain.
    _clean_before: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        section = self.server
        self._asker = Asker(section)
        self._guard = Guard(
            connect(section.redis_url),
            self.lane,
            section.pg_dsn,
            self._asker.source,
            self._asker.committed,
            worker_id(),
            of_settlements,
        )
        self._expiry = Expiry(section, self.lane, self._guard, lambda: Topics(section))

    def _work(self) -> Work:
        return settle

    def _beside(self) -> Beside:
        return self._expiry

    def close(self) -> None:
        """See `Parent`. Also ends the lease of the expiry."""
        super().close()
        self._guard.close()
        self._asker.close()

    def drained(self) -> bool:
        """Whether all that the topic holds now is settled, and then no hold is overdue."""
        try:
            if self._lag(read_positions(self.client, self.lane)):
                return False
        except (BrokerAway, RedisAway):
            return False
        if self._clean_before is None:
            self._clean_before = self._expiry.clean_turns
        # The turn after the next one began after this look.
        return self._expiry.clean_turns >= self._clean_before + 2

    def waits_for(self) -> str:
        """What is not settled yet and why, in words."""
        try:
            seen = read_settle_status(self.client, self.lane, self.server.grace_ms)
            lane = read_lane(self.client, self.lane)
            lag = self._lag(seen.positions)
        except (BrokerAway, RedisAway) as away:
            return str(away)
        what = f"{lag:,} settlements are not settled yet, {seen.overdue:,} holds are overdue"
        return "; ".join([what, *self._reasons(lane)])

    def describe(self) -> str:
        """The status line: holds, what became of them, rate, lag; or what cannot be reached."""
        try:
            seen = read_settle_status(self.client, self.lane, self.server.grace_ms)
        except RedisAway as away:
            return f"[status] {away} | settlers {self.alive}"
        lag = self._lag_if_known(seen.positions)
        return status_line(
            seen,
            rate=self._rate(seen.settled),
            lag=lag,
            blocked=self._blocked,
            settlers=self.alive,
        )


def status_line(
    seen: SettleStatus, *, rate: float, lag: int | None, settlers: int, blocked: str = ""
) -> str:
    """What an operator wants to know at a glance. `lag` None: Kafka does not answer."""
    lag_text = "unknown (Kafka is away)" if lag is None else f"{lag:,}"
    if blocked:
        lag_text += f" ({blocked})"
    odd = ", ".join(
        f"{name.replace('_', ' ')} {seen.messages[name]:,}"
        for name in ("too_late", "repeated", "not_held", "invalid")
        if seen.messages.get(name)
    )
    parts = [
        f"held {seen.held:,}" + (f" ({seen.overdue:,} overdue)" if seen.overdue else ""),
        f"paid {seen.total('paid'):,}",
        f"given back {seen.total('cancelled'):,}",
        f"expired {seen.total('expired'):,}",
        f"units returned {seen.total('units_returned'):,}",
        f"settled {seen.settled:,}" + (f" ({odd})" if odd else ""),
        f"{rate:,.0f}/s",
        f"lag {lag_text}",
        f"settlers {settlers}",
    ]
    return "[status] " + " | ".join(parts)
