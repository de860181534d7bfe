"""What the runs of many kills share: who is killed when, and their progress on the screen."""

import contextlib
import random
from collections.abc import Callable

import pytest


def victims(rng: random.Random, names: list[str], number: int) -> list[str]:
    """Whom to kill, in turn: everybody once, and then anybody."""
    once = rng.sample(names, len(names))
    return (once + rng.choices(names, k=max(0, number - len(names))))[:number]


def moments(rng: random.Random, order: list[str], things: int) -> list[tuple[int, str]]:
    """(how many of the things are left, whom to kill then), in turn."""
    left = sorted((rng.randrange(things // 20, things) for _ in order), reverse=True)
    return list(zip(left, order, strict=True))


def teller(capsys: pytest.CaptureFixture[str], *, at_once: bool) -> Callable[[str], None]:
    """Prints progress. `at_once`: while the test runs, past pytest's capture."""

    def tell(line: str) -> None:
        with capsys.disabled() if at_once else contextlib.nullcontext():
            print(line, flush=True)

    return tell
