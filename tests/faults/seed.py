"""The seed of the fault tests: it chooses what is broken and when, and replays the choices.

What the processes happen to do at that moment is not in its power: a replay breaks the same
things after the same waits.
"""

import os
import random


def seed() -> int:
    """FAULT_SEED, which tests/conftest.py chooses for the whole test run where nobody named one."""
    return int(os.environ["FAULT_SEED"])


def rng_of(scenario: str) -> random.Random:
    """The random numbers of one scenario: the same whether it runs alone or with others."""
    return random.Random(f"{seed()} {scenario}")
