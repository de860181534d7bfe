"""Members of the consumer group that are not ours: they hold partitions and decide nothing.

Looks on its own thread, so nobody waits for Kafka. Changes nothing.
"""

import logging
import threading
import time

from seckill.broker import CLIENT_ID
from seckill.broker.members import Member, Members
from seckill.broker.transactions import quoted
from seckill.config.sections import ConsumerSection
from seckill.errors import BrokerAway
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds between two looks, and until a stranger that stays is logged again.
LOOK_S, TELL_AGAIN_S = 5.0, 60.0
# Strangers that are named. The rest is counted.
MOST_NAMED = 5


class Strangers:
    """`run` works on a thread until `stop`. Any thread may read `found`, the last result."""

    def __init__(self, server: ConsumerSection) -> None:
        self._server = server
        self._members = Members(server)
        self._told: tuple[Member, ...] = ()
        self._told_at = 0.0
        self._stop = threading.Event()
        self.found: tuple[Member, ...] = ()

    def run(self) -> None:
        """Look and log, until `stop`."""
        try:
            while not self._stop.is_set():
                self.run_once()
                self._stop.wait(LOOK_S)
        finally:
            self.close()

    def run_once(self) -> None:
        """One look. If it fails, the result stays and the next look follows."""
        try:
            members = self._members.ask()
        except BrokerAway as away:
            log.debug("the consumer group is unknown: %s", away, extra=event("library"))
            return
        self.found = tuple(sorted(m for m in members if m.client_id != CLIENT_ID))
        self._tell()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def close(self) -> None:
        """End what asks Kafka. `run` calls it at its end."""
        self._members.close()

    def in_words(self) -> str:
        """The strangers of the last look and what they cause; "" if there are none."""
        if not self.found:
            return ""
        named = ", ".join(map(str, self.found[:MOST_NAMED]))
        if len(self.found) > MOST_NAMED:
            named += f" and {len(self.found) - MOST_NAMED} more"
        kept = sorted({partition for one in self.found for partition in one.partitions})
        means = (
            f"the requests of partitions {', '.join(map(str, kept))} wait and are not decided"
            if kept
            else "they may get partitions at any time, whose requests are then not decided"
        )
        group = quoted(self._server.group_id)
        return f"group {group} has members that are not ours: {named}: {means}"

    def _tell(self) -> None:
        now = time.monotonic()
        if self.found:
            if self.found != self._told or now - self._told_at > TELL_AGAIN_S:
                log.warning(
                    "%s. Stop them, or give them another group id: then the partitions come back "
                    "by themselves",
                    self.in_words(),
                    extra=event("strangers"),
                )
                self._told_at = now
        elif self._told:
            log.warning(
                "going on: all members of the group are ours again", extra=event("going-on")
            )
        self._told = self.found
