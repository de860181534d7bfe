"""What `run_sale` refuses before it starts anything."""

import pytest
from django.core.management import CommandError, call_command

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
