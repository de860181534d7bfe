"""`make quick`: the tests of what has changed since main, and the script's own, in two minutes.

The nearest tests come first. When the time is over the rest is named and left out, which is no
failure: `make test` runs everything.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BUDGET_S = 100.0
# The heart is tested whatever has changed.
SCRIPT = ("tests/unit/formats/test_wire.py", "tests/integration/lua/test_script.py")
# Where a change shows, if not in the folders of its room.
PLACES = {
    "seckill/lua/": ("tests/integration/lua",),
    "seckill/management/": ("tests/unit/process", "tests/integration/process"),
    "seckill/locale/": ("tests/unit/project/test_translations.py",),
    "seckill_project/": ("tests/unit/project", "tests/integration/web"),
    "demo/": ("tests/unit/process/test_run_sale.py",),
    "deploy/": ("tests/unit/project", "tests/unit/monitoring"),
}


def changed(project: Path) -> list[str]:
    """Files that differ from where this branch left main, and new ones."""
    base = "HEAD"
    for main in ("main", "origin/main"):
        found = _git(project, "merge-base", main, "HEAD")
        if found:
            base = found[0]
            break
    new = _git(project, "ls-files", "--others", "--exclude-standard")
    return sorted({*_git(project, "diff", "--name-only", base), *new})


def choose(files: list[str]) -> list[str]:
    """The tests of these files: unit tests, then tests among the files, then the others."""
    found: list[str] = []
    for file in files:
        parts = Path(file).parts
        if parts[0] == "tests":
            found += [file] if parts[-1].startswith("test_") and parts[1] in KINDS else []
        elif file.endswith(".md"):
            found.append("tests/unit/project/test_docs.py")
        else:
            found += [f"tests/{kind}/{room}" for room in parts[:2] for kind in KINDS]
            for start, places in PLACES.items():
                found += places if file.startswith(start) else ()
    known = [test for test in dict.fromkeys(found) if (PROJECT / test).exists()]
    near = [test for test in known if test in files]
    unit = [test for test in known if test.startswith("tests/unit")]
    return list(dict.fromkeys([*unit, *near, *SCRIPT, *known]))


KINDS = ("unit", "integration")


class Budget:
    """Ends pytest when the time is over, and counts what was left out."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.left_out = 0
        self._done = 0

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Another test has ended."""
        self._done += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Before and after each test."""
        result = yield
        if time.monotonic() > self._deadline:
            self.left_out = len(item.session.items) - self._done
            item.session.shouldstop = "the time of `make quick` is over" if self.left_out else False
        return result


def main() -> int:
    """Exit code: pytest's, and 0 if all that ran has passed."""
    files = changed(PROJECT)
    chosen = choose(files)
    print(f"{len(files)} files differ from main: {' '.join(chosen)}", flush=True)
    budget = Budget(BUDGET_S)
    code = pytest.main(["--maxfail=5", *chosen], plugins=[budget])
    if code == pytest.ExitCode.INTERRUPTED and budget.left_out:
        print(f"{budget.left_out} tests were left out, because two minutes are over: make test")
        return 0
    return int(code)


def _git(project: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", *arguments], cwd=project, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
