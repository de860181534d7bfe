"""The shop of the door's faults: a sale, two doors, a consumer, a log worker, and its buyers."""

import random
import re
import signal
from collections.abc import Mapping

from seckill.audit.audit import audit
from seckill.audit.kafka import KafkaAudit
from seckill.broker.reader import TopicReader
from seckill.control.control import Control
from seckill.lane.keys import Lane
from tests.faults.clickers import ACCEPTED, Clickers, rows_of, wrong_answers
from tests.faults.command import Command
from tests.faults.harness import STOCK, Sale
from tests.helpers.door import KEYS

# What the buyers click for.
ITEM = 1002
CLICKS = 3_000


class Doors:
    """Two doors of one sale. `ports` are where they listen now.

    `wrong` names what they lack: see `tests.faults.wrong_door`.
    """

    def __init__(self, sale: Sale, wrong: str = "") -> None:
        self.sale, self._wrong = sale, wrong
        self.commands: list[Command] = [self._start() for _ in range(2)]
        self.ports = [self._port(command) for command in self.commands]

    def _start(self, port: int = 0) -> Command:
        arguments = (
            *("run_door", "--port", str(port), "--topic", self.sale.server.topic),
            *("--user-rate", "1000", "--address-rate", "100000", "--address-burst", "10000"),
            *("--buyer-cookie", "shop"),
        )
        secrets = {
            "SECKILL_BUYER_KEYS": KEYS,
            "SECKILL_TICKET_SECRET": "1:a secret of the tickets",
        }
        if self._wrong:
            return self.sale.run_module("wrong_door", self._wrong, *arguments, **secrets)
        return self.sale.start(*arguments, **secrets)

    @staticmethod
    def _port(command: Command) -> int:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", command.wait_for("buyers' door", 60))
        assert found
        return int(found[1])

    def kill(self, number: int) -> None:
        """kill -9."""
        self.commands[number].tell(signal.SIGKILL)
        self.commands[number].process.wait(60)

    def tend(self) -> None:
        """Start those again that do not run, on their ports."""
        for number, command in enumerate(self.commands):
            if command.process.poll() is not None:
                self.commands[number] = self._start(self.ports[number])
                self._port(self.commands[number])


class Shop:
    """A sale with two doors, and what decides and stores. `open` starts that."""

    def __init__(
        self,
        sale: Sale,
        rng: random.Random,
        *,
        clicks: int = CLICKS,
        stock: Mapping[int, int] = STOCK,
        wrong_door: str = "",
    ) -> None:
        self.sale, self.rng = sale, rng
        self.units = stock[ITEM]
        Control(sale.redis, "test", Lane()).set_stock(1, stock)
        self.doors = Doors(sale, wrong_door)
        self.clickers = Clickers(self.doors.ports, clicks, rng, ITEM)

    def open(self) -> None:
        """Start two consumers and a log worker."""
        self.consumer = self._consumers()
        self.log_worker = self.sale.log_worker()

    def _consumers(self) -> Command:
        return self.sale.consumer(
            *("--consumers", "2", "--session-timeout-ms", "3000", "--connect-timeout-s", "90"),
            stock=False,
        )

    def tend(self) -> None:
        """Start again what does not run: servers first, whose clients wait for them."""
        for server in list(self.sale.dead):
            self.sale.revive(server)
        self.doors.tend()
        if self.consumer.process.poll() is not None:
            self.consumer = self._consumers()
        if self.log_worker.process.poll() is not None:
            self.log_worker = self.sale.log_worker()

    def wrong(self, lost_at: float = 0.0) -> list[str]:
        """What buyers were told that the rows do not say. Nobody clicks any more."""
        heard = self.clickers.heard
        self.sale.wait_all_stored(60)
        assert not heard.gave_up
        assert len(heard.answers) == self.clickers.total
        return wrong_answers(heard.answers, rows_of(), lost_at)

    def sold_out(self) -> bool:
        """Whether as many clicks have been accepted as there were units, or clicks."""
        told = [{answer.state for answer in each} for each in self.clickers.heard.answers.values()]
        return sum(ACCEPTED in states for states in told) == min(self.units, self.clickers.total)

    def end(self) -> None:
        """Decide and store what is left in a new group, and prove it."""
        drain = self.sale.consumer(
            "--drain", "--group-id", f"{self.sale.server.group_id}-next", stock=False
        )
        assert drain.ended(60) == 0
        self.sale.drain_records()
        report = audit(self.sale.redis, Lane())
        assert report.clean, report.findings
        lane = self.sale.look()
        assert report.messages + lane.recovered == sum(self.sale.ends().values())
        with TopicReader(self.sale.server) as topic:
            kafka = KafkaAudit(self.sale.redis, topic, Lane()).run()
        assert not kafka.findings, kafka.findings
