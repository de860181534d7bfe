"""Holds what is served over HTTP to its own OpenAPI document: schemathesis, all of its checks."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as fuzz
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup


def ask_everything(
    document: Any,
    mode: GenerationMode,
    headers: Mapping[str, str],
    *,
    examples: int,
    no_input: Collection[str],
) -> int:
    """Ask each operation so many times, the same in every run; how many could be asked in `mode`.

    The test fails for every operation whose answers are not as described, and for one without any
    input that `no_input` does not name: none of it can be wrong.
    """
    faults: dict[str, str] = {}
    asked = 0
    for result in document.get_all_operations():
        operation = result.ok()

        @fuzz(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if "Idempotency-Key" in case.headers and mode is GenerationMode.POSITIVE:
                # It names one call; that its second use is refused has tests of its own.
                case.headers["Idempotency-Key"] = uuid.uuid4().hex
            case.call_and_validate(headers=dict(headers))

        try:
            ask()
            asked += 1
        except Unsatisfiable:
            assert operation.label in no_input
        except FailureGroup as fault:
            faults[operation.label] = str(fault)
    assert not faults, "\n\n".join(f"{label}: {fault}" for label, fault in faults.items())
    return asked
