"""Who is in the consumer group, asked in a process of its own.

librdkafka ends its process if the line to the group's coordinator breaks at the wrong moment
(librdkafka#4605; what mends it, #5397, is in no release). So not the consumers' parent asks, but a
child that may end: the next question starts another one. kafka-python cannot ask for groups of the
new protocol.
"""

import contextlib
import logging
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from seckill.broker.security import confluent_options
from seckill.broker.transactions import quoted
from seckill.config.layers import BASE_DIR
from seckill.config.sections import ConsumerSection
from seckill.errors import BrokerAway

log = logging.getLogger(__name__)

# Seconds for Kafka's answer, and more for a child that starts.
ANSWER_S, START_S = 10.0, 10.0


# A member as the child sends it: the fields of `Member`.
_Fields = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True, order=True)
class Member:
    """A member: its client id, its address, and its partitions of the sale's topic."""

    client_id: str
    host: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        keeps = ", ".join(map(str, self.partitions)) or "none of this topic"
        return f"{quoted(self.client_id)} at {quoted(self.host)} (partitions: {keeps})"


class Members:
    """Asks for the members of one group. Not thread-safe."""

    def __init__(self, server: ConsumerSection) -> None:
        self._server = server
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def ask(self) -> tuple[Member, ...]:
        """All members now. Raises BrokerAway, also if the child ended."""
        try:
            pipe = self._pipe or self._start()
            pipe.send(None)
            answer = pipe.recv() if pipe.poll(ANSWER_S + START_S) else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            # It ended, or is late. A late answer must not be taken for the next question's.
            code = self.close()
            raise BrokerAway(f"the process that asks who is in the group ended with code {code}")
        if isinstance(answer, str):
            raise BrokerAway(answer)
        return tuple(Member(*fields) for fields in answer)

    def close(self) -> int | None:
        """End the child; its exit code, if there was one."""
        if self._child is None or self._pipe is None:
            return None
        self._pipe.close()
        self._child.kill()
        code = self._child.wait()
        self._child, self._pipe = None, None
        return code

    def _start(self) -> Connection:
        self._pipe, theirs = multiprocessing.Pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=BASE_DIR,
        )
        # Else the end of the child would not be seen.
        theirs.close()
        self._pipe.send(self._server)
        return self._pipe


def _answer(pipe: Connection) -> None:
    """The work of the child, until the parent is gone."""
    # Ctrl-C goes to both. The parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        server: ConsumerSection = pipe.recv()
        options = {"client.id": "seckill-strangers", "log_level": 2, **confluent_options(server)}
        admin = AdminClient(options, logger=log)
        while True:
            pipe.recv()
            try:
                answer: list[_Fields] | str = list(_members(admin, server))
            except KafkaException as away:
                answer = str(away)
            pipe.send(answer)


def _members(admin: AdminClient, server: ConsumerSection) -> Iterator[_Fields]:
    asked = admin.describe_consumer_groups([server.group_id], request_timeout=ANSWER_S)
    for member in asked[server.group_id].result().members:
        partitions = sorted(
            place.partition
            for place in member.assignment.topic_partitions
            if place.topic == server.topic
        )
        yield member.client_id, member.host.removeprefix("/"), tuple(partitions)


if __name__ == "__main__":
    _answer(Connection(int(sys.argv[1])))
