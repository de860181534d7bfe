"""Members of the consumer group that are not ours: they hold partitions and decide nothing.

Looks on its own thread, so nobody waits for Kafka. Changes nothing.
"""

import logging
import threading
import time
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from seckill.broker import CLIENT_ID
from seckill.broker.security import confluent_options
from seckill.broker.transactions import quoted
from seckill.config.sections import Server
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds between two looks, for an answer, and until a stranger that stays is logged again.
LOOK_S, ANSWER_S, TELL_AGAIN_S = 5.0, 10.0, 60.0
# Strangers that are named. The rest is counted.
MOST_NAMED = 5


@dataclass(frozen=True, order=True)
class Stranger:
    """A member: its client id, its address, and its partitions of the sale's topic."""

    client_id: str
    host: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        keeps = ", ".join(map(str, self.partitions)) or "none of this topic"
        return f"{quoted(self.client_id)} at {quoted(self.host)} (partitions: {keeps})"


class Strangers:
    """`run` works on a thread until `stop`. Any thread may read `found`, the last result."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._admin: AdminClient | None = None
        self._told: tuple[Stranger, ...] = ()
        self._told_at = 0.0
        self._stop = threading.Event()
        self.found: tuple[Stranger, ...] = ()

    def run(self) -> None:
        """Look and log, until `stop`."""
        while not self._stop.is_set():
            self.run_once()
            self._stop.wait(LOOK_S)

    def run_once(self) -> None:
        """One look. If it fails, the result stays and the next look follows."""
        try:
            self.found = self._look()
        except KafkaException as away:
            log.debug("the consumer group is unknown: %s", away, extra=event("library"))
            return
        self._tell()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

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

    def _look(self) -> tuple[Stranger, ...]:
        # The confluent client, because kafka-python cannot ask for groups of the new protocol.
        if self._admin is None:
            options = confluent_options(self._server)
            options |= {"client.id": "seckill-strangers", "log_level": 2}
            self._admin = AdminClient(options, logger=log)
        group_id = self._server.group_id
        asked = self._admin.describe_consumer_groups([group_id], request_timeout=ANSWER_S)
        found = [
            Stranger(
                member.client_id,
                member.host.removeprefix("/"),
                tuple(
                    sorted(
                        place.partition
                        for place in member.assignment.topic_partitions
                        if place.topic == self._server.topic
                    )
                ),
            )
            for member in asked[group_id].result().members
            if member.client_id != CLIENT_ID
        ]
        return tuple(sorted(found))

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
