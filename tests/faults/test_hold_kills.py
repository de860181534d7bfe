"""kill -9 of settlers and of Valkey while confirms race the end of their holds.

Units that come back in time are sold again. `make faults HOLDS=100000` makes so many holds, and
kills once in HOLDS_A_KILL of them; as a part of the suite everything is killed once.
"""

import os
import random
import time
from collections.abc import Callable
from functools import partial
from signal import SIGKILL

import pytest

from seckill.audit.audit import audit
from seckill.audit.kafka import KafkaAudit
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.control.control import Control
from seckill.formats.settle import settle_topic
from seckill.lane.keys import Lane
from seckill.lane.settle_status import read_settle_status
from seckill.models import Activity, LatePayment
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.crew import AWAY_S
from tests.faults.harness import PLENTY, Sale
from tests.faults.long_runs import moments, teller, victims
from tests.faults.payers import Payers
from tests.faults.seed import seed

LANE = Lane()
# Requests on demand; none: as many as a part of the suite has time for.
HOLDS = int(os.environ.get("HOLDS") or 0)
BUYERS = HOLDS or 5_000
# Requests a second.
RATE = max(400.0, HOLDS / 60)
HOLDS_A_KILL = 2_500
# Share of buyers for whom there is a unit. Nine of ten: the rest buys what others gave back.
UNITS = 0.9
# Seconds of a hold, and how many at least pay after its end.
HOLD_S, TOO_LATE = 6, 10
# Seconds between two kills at the most, on a quiet machine, and until all is settled at the end.
NEXT_S = 120.0 + BUYERS / 100


class Till:
    """What decides, settles and stores, and who starts again what died."""

    def __init__(self, sale: Sale, rng: random.Random) -> None:
        self.sale, self.rng = sale, rng
        sale.kafka_client = "confluent-kafka"
        Activity.objects.create(id=1, hold_s=HOLD_S)
        Control(sale.redis, "test", LANE).set_stock(1, {1001: int(BUYERS * UNITS), 1002: PLENTY})
        sale.consumer("--connect-timeout-s", "90", stock=False)
        sale.log_worker()
        self.settler = self._settler()
        self.settler.wait_for("assigned partitions: \\[", 60)
        self.kills: dict[str, Callable[[], None]] = {
            "a settler": self._a_settler,
            "the settlers' parent": self._parent,
            "valkey": partial(sale.kill, "valkey"),
        }

    def _settler(self, *flags: str) -> Command:
        server = self.sale.server
        return self.sale.start(
            "run_settler",
            *("--topic", server.topic, "--group-id", server.group_id, "--grace-ms", "0"),
            *("--consumers", "2", "--session-timeout-ms", "3000", "--connect-timeout-s", "90"),
            *("--kafka-client", self.rng.choice(("kafka-python", "confluent-kafka")), *flags),
        )

    def _a_settler(self) -> None:
        children = self.settler.consumers()
        if children:
            self.rng.choice(children).kill()

    def _parent(self) -> None:
        self.settler.tell(SIGKILL)
        self.settler.process.wait(60)

    def tend(self) -> None:
        """Start again what does not run."""
        if self.sale.dead:
            # Not a wait for anything: how long it stays away is what the seed chooses.
            time.sleep(self.rng.uniform(0, AWAY_S))
        for server in list(self.sale.dead):
            self.sale.revive(server)
        if self.settler.process.poll() is not None:
            self.settler = self._settler()

    def end(self, payers: Payers) -> None:
        """Wait until no hold is left, and some pay too late. Then settle and decide all once more,
        in new groups.
        """
        self.sale.wait_all_decided(NEXT_S)
        wait_until(
            lambda: read_settle_status(self.sale.redis, LANE).held == 0, NEXT_S, "no hold is left"
        )
        payers.come_back(TOO_LATE)
        stop(self.settler)
        group = f"{self.sale.server.group_id}-next"
        for drain in (
            self._settler("--drain", "--group-id", group),
            self.sale.consumer("--drain", "--group-id", group, stock=False),
        ):
            assert drain.ended(NEXT_S) == 0
            assert "Traceback" not in drain.output
        self.sale.drain_records()

    def prove(self) -> None:
        """The audit is clean, with the topic, and each settle message has one outcome."""
        report = audit(self.sale.redis, LANE)
        assert report.clean, (f"FAULT_SEED={seed()}", report.findings)
        with TopicReader(self.sale.server) as topic:
            kafka = KafkaAudit(self.sale.redis, topic, LANE).run()
        assert not kafka.findings, kafka.findings
        status = read_settle_status(self.sale.redis, LANE)
        assert status.settled == sum(status.positions.values())
        assert status.messages.get("too_late", 0) >= LatePayment.objects.count()

    def close(self) -> None:
        """Delete the topic of the settlements."""
        with Topics(self.sale.server) as topics:
            topics.delete(settle_topic(self.sale.server.topic))


@pytest.mark.timeout(900 + BUYERS // 20)
def test_no_confirm_in_time_is_lost_whatever_is_killed(
    sale: Sale, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    tell = teller(capsys, at_once=bool(HOLDS))
    till = Till(sale, rng)
    payers = Payers(sale, rng, BUYERS, RATE, HOLD_S)
    names = list(till.kills)
    order = moments(rng, victims(rng, names, max(len(names), HOLDS // HOLDS_A_KILL)), BUYERS)
    with payers:
        for number, (left, victim) in enumerate(order, 1):
            wait_until(
                lambda left=left: payers.left < left or payers.refused,  # type: ignore[misc]
                NEXT_S,
                f"{left:,} are left",
            )
            tell(f"kill {number}/{len(order)}: {victim}; {payers.left:,} are left")
            till.kills[victim]()
            till.tend()
    till.end(payers)
    payers.close()
    why = f"FAULT_SEED={seed()}"
    assert payers.wrong() == [], why
    counts = payers.counts()
    # All of it happened: holds that were paid, given back and expired, and money that was too late.
    assert set(counts) == {"paid", "cancelled", "expired"}, why
    assert LatePayment.objects.count() >= TOO_LATE, why
    assert sum(counts.values()) >= int(BUYERS * UNITS), why
    till.prove()
    till.close()
    tell(
        f"{why}: {len(order)} kills, {sum(counts.values()):,} holds, {dict(counts)}, "
        f"{LatePayment.objects.count():,} paid too late: none in time was lost, the audit is clean"
    )
