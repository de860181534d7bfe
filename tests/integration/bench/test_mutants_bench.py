"""`make mutants` can fail: a mutant that no test notices is told, and ends it with exit code 1."""

from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.mutants import bench
from tests.mutants.__main__ import run
from tests.mutants.bench import Bench, Verdict
from tests.mutants.mutant import Mutant

FILE, TEST = "double.py", "test_double.py"
SOURCE = "def double(n):\n    return n + n\n"
TESTS = "from double import double\n\ndef test_three():\n    assert double(3) == 6\n"


def mutant(line: str) -> Mutant:
    return Mutant(FILE, 2, "return n + n", line, f"def double(n):\n    {line}\n")


KILLED, SURVIVES, HANGS = (
    mutant(line) for line in ("return n - n", "return 6", "while True: pass")
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one module and one test, which is no Django project."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    (project / FILE).write_text(SOURCE)
    (project / TEST).write_text(TESTS)
    return project


@pytest.fixture
def small(project: Path, running_stack: Stack) -> Bench:
    """A bench for it, on the services of this session."""
    return Bench(project, running_stack)


def test_the_exit_code_says_whether_all_were_noticed(
    small: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = {FILE: (TEST,)}
    assert run(small, [KILLED], targets) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(f" s {TEST}::test_three")
    assert run(small, [KILLED, SURVIVES], targets) == 1
    told = capsys.readouterr().out
    assert "survived: double.py:2\n- return n + n\n+ return 6\n" in told
    assert "1 of 2 mutants were noticed" in told
    assert (small.project / FILE).read_text() == SOURCE


def test_tests_that_fail_without_a_mutant_are_another_exit_code(
    small: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (small.project / FILE).write_text(KILLED.text)
    assert run(small, [SURVIVES], {FILE: (TEST,)}) == 2
    assert f"FAILED {TEST}::test_three" in capsys.readouterr().out


def test_a_mutant_that_never_ends_is_ended(small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small.prepare([TEST]) == ""
    monkeypatch.setattr(bench, "MORE_S", 3)
    assert small.judge(HANGS, (TEST,)).verdict is Verdict.HUNG
