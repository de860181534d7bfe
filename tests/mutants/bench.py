"""Runs tests on a copy of the project in which one file is changed, again and again.

Owns the services that all runs share, and the end of runs that hang or eat the machine's memory.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import psutil

from devstack.stack import Stack
from tests.mutants.mutant import Mutant

# A run may take so many times as long as without a mutant, and so many seconds more.
TIMES, MORE_S = 3, 30
# A mutant of a loop that goes on for ever takes memory, in a process of ours or in Valkey.
MEMORY_BYTES = 2_000_000_000
LOOK_S = 0.2
ALL_PASSED, SOME_FAILED = 0, 1
DURATION = re.compile(r"^([\d.]+)s (?:setup|call|teardown) +(\S+)", re.MULTILINE)
# In pytest's summary, of a test or of a file that cannot be read.
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - |$)", re.MULTILINE)
Tests = tuple[str, ...]


class Verdict(Enum):
    SURVIVED = "SURVIVED"
    KILLED = "killed"
    HUNG = "killed (it hung)"


class Judgement(NamedTuple):
    """What became of a mutant, after how many seconds; `by` is the test that has noticed it, "" for
    none that pytest has named."""

    verdict: Verdict
    seconds: float
    by: str


class Bench:
    """Services, and one pytest after the other."""

    def __init__(self, project: Path, stack: Stack) -> None:
        self.project = project
        self._stack = stack
        self._seconds: dict[str, float] = {}
        self._report = project.parent / "pytest.txt"
        # After a run that was killed in the middle, rows may be left.
        self._fresh = True

    def __enter__(self) -> "Bench":
        self._stack.up(print, owner_pid=os.getpid())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.remove()

    def prepare(self, tests: Iterable[str]) -> str:
        """Find out how long tests take without a mutant. What they say if they fail, else ""."""
        wanted = list(dict.fromkeys(tests))
        code, seconds = self._run(("--durations=0", *wanted), limit_s=3600, compiled=True)
        report = self._report.read_text(encoding="utf-8")
        if code != ALL_PASSED:
            return report
        print(f"without any mutant, these tests take {seconds:.0f} s", flush=True)
        taken = [(test, float(taken)) for taken, test in DURATION.findall(report)]
        for each in wanted:
            self._seconds[each] = sum(s for test, s in taken if test.startswith(each))
        return ""

    def judge(self, mutant: Mutant, tests: Tests) -> Judgement:
        """Whether the tests notice it."""
        file = self.project / mutant.file
        original = file.read_bytes()
        # A compiled file counts by size and second, and so may be that of another mutant.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
        try:
            file.write_text(mutant.text, encoding="utf-8")
            limit_s = TIMES * sum(self._seconds[each] for each in tests) + MORE_S
            code, seconds = self._run(tests, limit_s=limit_s, compiled=False)
        finally:
            file.write_bytes(original)
        if code is None:
            return Judgement(Verdict.HUNG, seconds, "")
        if code == ALL_PASSED:
            return Judgement(Verdict.SURVIVED, seconds, "")
        failed = FAILED.search(self._report.read_text(encoding="utf-8"))
        return Judgement(Verdict.KILLED, seconds, failed[1] if failed else "")

    def _run(self, tests: Tests, *, limit_s: float, compiled: bool) -> tuple[int | None, float]:
        """(pytest's exit code, or None: it had to be killed; seconds)."""
        self._heal()
        began = time.monotonic()
        with self._report.open("w") as report:
            pytest = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "-x", "-p", "no:xdist"),
                    # What differs, and where, would take longer to find than the test.
                    *("--assert=plain", "--tb=short"),
                    "--create-db" if self._fresh else "--reuse-db",
                    *tests,
                ],
                cwd=self.project,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")},
                    "TEST_SERVICES": str(self._stack.folder),
                    "MODEL_EXAMPLES": "40",
                    "PYTHONDONTWRITEBYTECODE": "" if compiled else "1",
                },
                stdout=report,
                stderr=report,
            )
            try:
                while pytest.poll() is None:
                    if time.monotonic() - began > limit_s or self._too_large(pytest.pid):
                        _kill(pytest)
                        self._fresh = True
                        return None, time.monotonic() - began
                    time.sleep(LOOK_S)
            finally:
                _kill(pytest)
        # Whatever is no test's failure may have left something behind.
        self._fresh = pytest.returncode not in (ALL_PASSED, SOME_FAILED)
        return pytest.returncode, time.monotonic() - began

    def _heal(self) -> None:
        """All services answer: one may be busy for ever with a mutant's script."""
        for service in self._stack.status():
            if service.state == "not answering":
                self._stack.kill(service.name)
        self._stack.up(owner_pid=os.getpid())

    def _too_large(self, pid: int) -> bool:
        valkey = self._stack.pid("valkey")
        with contextlib.suppress(psutil.NoSuchProcess):
            if valkey and psutil.Process(valkey).memory_info().rss > MEMORY_BYTES:
                self._stack.kill("valkey")
                return True
            return bool(psutil.Process(pid).memory_info().rss > MEMORY_BYTES)
        return False


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With the commands that it has started; nothing where it has ended."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()
