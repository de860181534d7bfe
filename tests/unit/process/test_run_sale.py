"""What `run_sale` refuses before it starts anything, and the sentence that it ends with."""

import pytest
from django.core.management import CommandError, call_command

from demo.sale import Result
from demo.view import headline
from seckill.audit.audit import Report
from seckill.process import exit_codes


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--stock", "1001:many"], "--stock: "),
        (["--profile", "rsh"], "--profile: no profile 'rsh'"),
        (["--profile", "none/of/this.yaml"], "cannot be read"),
        (["--requests", "0"], "not a whole number above 0"),
        (["--consumers", "-1"], "not a whole number above 0"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(
    flags: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("services are started")

    monkeypatch.setattr("devstack.stack.Stack.up", never)
    with pytest.raises(CommandError) as refused:
        call_command("run_sale", *flags)
    assert reason in str(refused.value)
    assert refused.value.returncode in (1, exit_codes.USAGE)


@pytest.mark.parametrize(
    ("sold", "clean", "stuck", "end"),
    [
        (100_000, True, False, "exactly 100,000 sold, no one twice"),
        (99_000, True, False, "99,000 sold, 1,000 left, no one twice"),
        (100_000, False, False, "100,000 sold, and NOT proved: see below"),
        (70_000, True, True, "70,000 sold, and NOT proved: see below"),
    ],
)
def test_the_last_sentence_claims_what_was_proved(
    sold: int, clean: bool, stuck: bool, end: str
) -> None:
    result = Result({}, 250_000, 1.0, {}, sold, sold, Report(clean=clean), stuck)
    assert headline(result, 100_000) == f"250,000 requests for 100,000 units: {end}"
