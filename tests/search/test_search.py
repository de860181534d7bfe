"""Random steps over the whole lane: ten thousand in the suite, else as many as SEARCH_STEPS says
(`make search STEPS=1000000`).

SEARCH_SEED begins elsewhere, SEARCH_MIX keeps to one kind of misfortune, SEARCH_ASIDE leaves kinds
of failures aside that are known by now ("Waits Lost"), to look behind them.
"""

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.search.chance import BACKEND, use_plain_chance
from tests.search.driver import Driver
from tests.search.machine import Machine

SUITE_STEPS = 10_000
STEPS = int(os.environ.get("SEARCH_STEPS") or SUITE_STEPS)
SEED = int(os.environ.get("SEARCH_SEED") or 1)
MIX = os.environ.get("SEARCH_MIX", "")
ASIDE = frozenset(os.environ.get("SEARCH_ASIDE", "").split())
# Seconds for making what was found shorter.
SHRINK_S = int(os.environ.get("SEARCH_SHRINK", 60))
# The most steps of one sale, and how many it has on the average, at least.
SALE_STEPS, USUAL_STEPS = 60, 55
# Steps of one seed: what hypothesis remembers of a run grows with it.
STEPS_A_SEED = 2_000
# The suite has a test for each of its seeds, so that its processes share them. A longer run ends
# with the first failure, and is one test.
PARTS = SUITE_STEPS // STEPS_A_SEED if STEPS == SUITE_STEPS else 1


@pytest.mark.timeout(0 if STEPS > SUITE_STEPS else 600)
@pytest.mark.parametrize("first", range(SEED, SEED + PARTS))
def test_the_lane_keeps_its_promise_whatever_happens(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    use_plain_chance(monkeypatch, SHRINK_S)
    seen: Counter[str] = Counter()
    number = first
    while seen["steps"] < STEPS // PARTS:
        given: dict[str, Any] = {"driver": driver, "seen": seen, "only": MIX, "aside": ASIDE}
        machine = seed(number)(type("GivenMachine", (Machine,), given))
        print(f"SEARCH_SEED={number}", flush=True)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=max(1, min(STEPS_A_SEED, STEPS) // USUAL_STEPS),
                stateful_step_count=SALE_STEPS,
                backend=BACKEND,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=[Phase.generate, *([Phase.shrink] if SHRINK_S else [])],
                suppress_health_check=list(HealthCheck),
            ),
        )
        # Seeds of the other tests are not those that come next.
        number += PARTS
    print(f"search: {dict(seen)}")
