"""Which tests `make quick` takes, and when it stops."""

import subprocess
import sys
from pathlib import Path

import pytest

from seckill.config.layers import BASE_DIR
from tests.quick import SCRIPT, changed, choose


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("seckill/lane/client.py", {"tests/unit/lane"}),
        ("seckill/control/acts.py", {"tests/unit/control", "tests/integration/control"}),
        ("seckill/lua/finish.lua", {"tests/integration/lua"}),
        ("tests/unit/lane/test_keys.py", {"tests/unit/lane/test_keys.py"}),
        ("tests/faults/test_group.py", set()),
        ("docs/faq.md", {"tests/unit/project/test_docs.py"}),
        ("devstack/jars.py", {"tests/unit/devstack", "tests/integration/devstack"}),
    ],
)
def test_a_change_is_tested_where_it_shows(file: str, expected: set[str]) -> None:
    assert set(choose([file])) - set(SCRIPT) == expected


def test_the_script_is_tested_whatever_has_changed() -> None:
    assert choose([]) == list(SCRIPT)


def test_unit_tests_come_first() -> None:
    order = choose(["seckill/control/acts.py"])
    assert order[0] == "tests/unit/control"
    assert order.index(SCRIPT[1]) < order.index("tests/integration/control")


def test_a_folder_without_git_has_no_changes(tmp_path: Path) -> None:
    assert changed(tmp_path) == []


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "1 passed 2"), (600.0, "3 passed 0")])
def test_it_stops_when_the_time_is_over(tmp_path: Path, seconds: float, said: str) -> None:
    file = tmp_path / "test_three.py"
    file.write_text("def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass")
    flags = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-p", "no:django", str(file)]
    program = (
        f"import pytest; from tests.quick import Budget; budget = Budget({seconds}); "
        f"pytest.main({flags!r}, plugins=[budget]); print('left out', budget.left_out)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    passed, left_out = said.split(" passed ")
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
    assert f"left out {left_out}" in done.stdout
