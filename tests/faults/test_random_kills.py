"""kill -9 of everything, in one sale that goes on: at random moments, one verdict at the end.

As a part of the suite each component is killed once. `make faults RUNS=200` kills 200 times.
"""

import os
import random
import time

import pytest

from seckill.audit.audit import audit
from seckill.lane.keys import Lane
from tests.faults.crew import RECOVERED_S, Crew
from tests.faults.harness import Sale
from tests.faults.long_runs import teller, victims
from tests.faults.seed import seed

# Kills; none: each component once.
RUNS = int(os.environ.get("RUNS") or 0)
# Requests a second.
RATE = 400
# The next kill comes at most so many seconds after the sale has recovered, or has not yet.
NEXT_S = 0.5
# Share of kills that hit a sale which has not yet recovered from the one before.
HASTE = 0.4
# Kills between two audits beside the running sale.
AUDIT_EACH = 10


@pytest.mark.timeout(1_200 + RUNS * int(RECOVERED_S))
def test_random_kills(sale: Sale, rng: random.Random, capsys: pytest.CaptureFixture[str]) -> None:
    tell = teller(capsys, at_once=bool(RUNS))
    with Crew(sale, rng) as crew, sale.load(RATE):
        crew.recovered()
        names = list(crew.kills)
        order = victims(rng, names, RUNS or len(names))
        for number, victim in enumerate(order, 1):
            time.sleep(rng.uniform(0, NEXT_S))
            tell(f"kill {number}/{len(order)}: {victim} at request {sale.sent:,}")
            crew.kill(victim)
            crew.tend()
            if rng.random() < HASTE and number < len(order):
                tell("  the next one comes before it has recovered")
                continue
            tell(f"  recovered in {crew.recovered():.1f} s")
            if number % AUDIT_EACH == 0 or number == len(order):
                with crew.operator.turn:
                    report = audit(sale.redis, Lane())
                assert report.clean, (f"FAULT_SEED={seed()}", report.findings)
                tell(f"  audit: clean, {report.messages:,} requests")
    with crew.operator.turn:
        crew.operator.act()
    sale.wait_all_decided(120)
    sale.wait_all_stored(120)
    report = sale.prove()
    tell(
        f"FAULT_SEED={seed()}: {len(order)} kills, {report.messages:,} requests, "
        f"{report.records_stored:,} records, {crew.operator.acts} acts: nothing lost, nothing twice"
    )
