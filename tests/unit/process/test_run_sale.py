"""What `run_sale` refuses before it starts anything, and the sentence that it ends with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from demo.alone import MARK, SaleRuns, alone
from demo.at_door import AtDoor, held_against_the_orders
from demo.figures import Result
from demo.view import door_line, headline
from seckill.audit.audit import Report
from seckill.config.layers import BASE_DIR
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
    result = Result({}, 250_000, 1.0, {}, sold, sold, Report(clean=clean), AtDoor(0), stuck)
    assert headline(result, 100_000) == f"250,000 requests for 100,000 units: {end}"
    assert result.proved == (clean and not stuck)


@pytest.mark.parametrize(
    ("at_door", "proved", "line"),
    [
        (AtDoor(0), True, ""),
        (
            AtDoor(1000, accepted=200, refused=799, turned_away=1, messages=700),
            True,
            "1,000 of them were clicks at the buyers' door: 200 heard yes, 799 no, 1 sent "
            "nonsense; each answer is what the orders say",
        ),
        (
            AtDoor(1000, accepted=200, refused=800, messages=700, wrong=["user 7"]),
            False,
            "1,000 of them were clicks at the buyers' door: 200 heard yes, 800 no; 1 WRONG: see "
            "below",
        ),
        (
            AtDoor(1000, accepted=200, refused=790, messages=700),
            False,
            "1,000 of them were clicks at the buyers' door: 200 heard yes, 790 no, and 10 heard "
            "NOTHING",
        ),
    ],
)
def test_nothing_is_proved_unless_every_click_heard_the_truth(
    at_door: AtDoor, proved: bool, line: str
) -> None:
    decided = 250_000 - at_door.clicks + at_door.messages
    result = Result({}, decided, 1.0, {}, 9, 9, Report(clean=True), at_door)
    assert (result.proved, result.asked) == (proved, 250_000)
    assert door_line(at_door) == line
    assert ("NOT proved" in headline(result, 9)) is not proved


def test_without_a_file_nobody_was_told_anything(tmp_path: Path) -> None:
    """Its writer may have failed at once."""
    found = held_against_the_orders(20, tmp_path / "none", "postgresql://localhost:1/none")
    assert (found.unanswered, found.proved) == (20, False)


def test_a_second_sale_in_the_same_folder_is_told_at_once_and_changes_nothing(
    tmp_path: Path,
) -> None:
    variables = os.environ | {"SECKILL_DEVSTACK": str(tmp_path), "SECKILL_CONFIG": "/dev/null"}
    with alone(tmp_path, "http://127.0.0.1:3000/admin/"):
        before = set(tmp_path.iterdir())
        second = subprocess.run(
            [sys.executable, "manage.py", "run_sale", "--demo"],
            cwd=BASE_DIR,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == exit_codes.FAILED
        assert f"(process {os.getpid()}, http://127.0.0.1:3000/admin/)" in second.stderr
        assert "Nothing was changed" in second.stderr
        assert second.stdout == ""
        # A file that keeps the folder out of repositories is no change of a sale.
        assert {file.name for file in set(tmp_path.iterdir()) - before} <= {".gitignore"}


def test_the_mark_of_a_dead_sale_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(json.dumps({"pid": 1, "address": "an older and longer one"}))
    runs = pytest.raises(SaleRuns, match=r"process [0-9]+, new\)")
    with alone(tmp_path, "new"), runs, alone(tmp_path, "newer"):
        raise AssertionError("two sales at once")
