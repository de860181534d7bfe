"""Plain chance for the search, in place of what hypothesis does to be quick with small inputs.

Hypothesis leaves out some rules in each run, begins with short runs, and tries each run again with
small changes: most of the time of a slow machine would go into sales in which nothing happens. Here
every run is new, and every step may come. Making a failing run shorter stays hypothesis's own.
"""

from typing import Any

import pytest
from hypothesis import stateful
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

BACKEND = "plain-chance"


class Chance(HypothesisProvider):
    """As hypothesis's own source, without its liking for certain numbers."""

    def _maybe_draw_constant(self, *_: Any, **__: Any) -> None:
        return None


class _AllRules:
    def is_enabled(self, name: str) -> bool:
        return True


def use_plain_chance(patch: pytest.MonkeyPatch, shrink_s: int) -> None:
    """For the runs of one test. `shrink_s`: seconds for making a failing run shorter."""
    patch.setitem(AVAILABLE_PROVIDERS, BACKEND, Chance)
    patch.setattr(stateful, "FeatureStrategy", lambda **_: st.builds(_AllRules))
    patch.setattr(engine, "MAX_SHRINKING_SECONDS", shrink_s)
