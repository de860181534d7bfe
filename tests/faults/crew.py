"""All processes of a sale, and the one who starts again what died, as a supervisor would."""

import http.client
import json
import random
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from signal import SIGKILL

from seckill.web.shared.accounts import make_api_key
from tests.conftest import wait_until
from tests.faults.command import Command
from tests.faults.harness import SCARCE, Sale

KAFKA_CLIENTS = ("kafka-python", "confluent-kafka")
COMMANDS = ("parent", "log worker", "web process")
SERVERS = ("valkey", "kafka", "postgres")
# Milliseconds until a killed consumer's partitions go on: short, so that many kills are cheap.
SESSION_MS = 2_000
# Longest time that a dead server stays dead, in seconds.
AWAY_S = 1.0
# Everything recovers within this time on a busy machine, in seconds.
RECOVERED_S = 60.0


class Operator(threading.Thread):
    """Steers through the web process all the time, and does again what was cut off."""

    def __init__(self, key: str) -> None:
        super().__init__(daemon=True)
        self.key, self.address = key, ""
        self.acts = 0
        self.last_failure = ""
        # Held during an act: an audit waits for its end.
        self.turn = threading.Lock()
        self.stopping = threading.Event()

    def run(self) -> None:
        """An act, a pause, the next act."""
        while not self.stopping.wait(0.1):
            with self.turn:
                self.act()

    def act(self) -> None:
        """Put the scarce item on sale again. One that failed may be half done."""
        request = urllib.request.Request(
            f"{self.address}/set_stock",
            json.dumps({"value": {"1002": SCARCE}}).encode(),
            {"X-API-Key": self.key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30):
                self.acts += 1
        except (OSError, http.client.HTTPException) as failed:
            # Cut off, or answered 503 while something was away.
            self.last_failure = str(failed)


class Crew:
    """Two consumers, a log worker, the web process and its operator, of one sale."""

    def __init__(self, sale: Sale, rng: random.Random) -> None:
        self.sale, self.rng = sale, rng
        self.operator = Operator(make_api_key("operator", can_steer=True))
        self.commands: dict[str, Command] = {}
        self.kills: dict[str, Callable[[], None]] = {
            "a consumer": self._a_consumer,
            "all consumers": self._all_consumers,
            **{name: partial(self._command, name) for name in COMMANDS},
            **{server: partial(sale.kill, server) for server in SERVERS},
            "everything": self._everything,
        }

    def __enter__(self) -> "Crew":
        self.tend()
        self.operator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.operator.stopping.set()
        self.operator.join(120)

    def tend(self) -> None:
        """Start what does not run: servers first, whose clients wait for them."""
        for server in list(self.sale.dead):
            self.sale.revive(server)
        starts: dict[str, Callable[[], Command]] = {
            "parent": self._start_consumers,
            "log worker": lambda: self.sale.log_worker("--batch-size", "500"),
            "web process": lambda: self.sale.start("run_control_api", "--port", "0"),
        }
        for name, start in starts.items():
            running = self.commands.get(name)
            if running is None or running.process.poll() is not None:
                self.commands[name] = start()
        said = self.commands["web process"].wait_for("control API +http", RECOVERED_S)
        found = re.search(r"http://[\d.:]+", said)
        assert found, said
        self.operator.address = found[0]

    def kill(self, victim: str) -> None:
        """kill -9, now. A server stays away for a moment."""
        self.kills[victim]()
        if self.sale.dead:
            # Not a wait for anything: how long it stays away is what the seed chooses.
            time.sleep(self.rng.uniform(0, AWAY_S))

    def recovered(self) -> float:
        """Wait until the whole path does new work again; how many seconds that took.

        What Kafka holds now is decided, and records stored and acts done that were not before.
        """
        began = time.monotonic()
        ends, stored, acts = self.sale.ends(), self.sale.stored(), self.operator.acts

        for goes_on, what in (
            (lambda: self.sale.lag(ends) == 0, f"decided up to {ends}"),
            (lambda: self.sale.stored() > stored, f"more than {stored} records stored"),
            (lambda: self.operator.acts > acts, f"more than {acts} acts of the operator"),
        ):
            wait_until(goes_on, RECOVERED_S, f"{what} ({self.operator.last_failure!r})")
        return time.monotonic() - began

    def _start_consumers(self) -> Command:
        # Each parent on one of the clients: the group has both, one after the other or at once.
        self.sale.kafka_client = self.rng.choice(KAFKA_CLIENTS)
        return self.sale.consumer(
            *("--consumers", "2", "--batch-size", "500"),
            *("--session-timeout", str(SESSION_MS), "--connect-timeout", "90"),
        )

    def _command(self, name: str) -> None:
        self.commands[name].tell(SIGKILL)
        self.commands[name].process.wait(60)

    def _a_consumer(self) -> None:
        consumers = self.commands["parent"].consumers()
        if consumers:
            self.rng.choice(consumers).kill()

    def _all_consumers(self) -> None:
        for consumer in self.commands["parent"].consumers():
            consumer.kill()

    def _everything(self) -> None:
        for command in self.commands.values():
            command.tell_group(SIGKILL)
        for server in SERVERS:
            self.sale.kill(server)
        for command in self.commands.values():
            command.process.wait(60)
