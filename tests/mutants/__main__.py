"""Runs a random choice of mutants, each against the tests that are meant to notice it.

N=100 mutants of all, SEED=7 the same ones again, ONLY=lua,sold those of files with any of these in
their names.
Works on a copy of the project, with services of its own that all runs share. Exit code 0: all were
noticed; 1: some survived; 2: the tests fail without any mutant.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from devstack.stack import Stack
from tests.mutants import lua, python
from tests.mutants.bench import Bench, Tests, Verdict
from tests.mutants.mutant import Equivalent, Mutant, Site, equivalents
from tests.mutants.targets import TARGETS

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "staticfiles", "screenshots")


def sites_of(file: str) -> list[Site]:
    """Where a file of the project can be mutated."""
    kind = lua if file.endswith(".lua") else python
    return list(kind.sites(file, (ROOT / file).read_text(encoding="utf-8")))


def choose(files: list[str], count: int, seed: int, known: list[Equivalent]) -> list[Mutant]:
    """So many mutants, at random; all if there are fewer."""
    places = [site for file in files for site in sites_of(file)]
    random.Random(seed).shuffle(places)
    chosen: list[Mutant] = []
    for site in places:
        if len(chosen) == count:
            break
        found = site.mutant()
        if found is not None and not any(each.is_it(found) for each in known):
            chosen.append(found)
    return sorted(chosen, key=lambda each: (files.index(each.file), each.line))


def stale(known: list[Equivalent]) -> list[Equivalent]:
    """Entries of which the code is another one by now."""
    return [each for each in known if not each.is_among(sites_of(each.file))]


def main() -> int:
    count, only = int(os.environ.get("N") or 100), os.environ.get("ONLY", "")
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    files = [file for file in TARGETS if any(part in file for part in only.split(","))]
    known = [each for each in equivalents() if each.file in files]
    for each in stale(known):
        print(f"equivalents.toml: {each.file} has no such line any more: {each.before}")
    chosen = choose(files, count, seed, known)
    print(f"SEED={seed} N={count} ONLY={only}: {len(chosen)} mutants of {len(files)} files")
    with _copy() as copy, Bench(copy, Stack(copy.parent / "services")) as bench:
        return run(bench, chosen, TARGETS)


def run(bench: Bench, chosen: list[Mutant], targets: Mapping[str, Tests]) -> int:
    """Judge them one after the other, and say so. The exit code."""
    tests = {each.file: targets[each.file] for each in chosen}
    failure = bench.prepare(test for each in tests.values() for test in each)
    if failure:
        print(f"without any mutant, the tests fail:\n{failure}")
        return 2
    survivors, noticed, began = [], 0, time.monotonic()
    for done, each in enumerate(chosen, 1):
        verdict, seconds, by = bench.judge(each, tests[each.file])
        survivors += [each] if verdict is Verdict.SURVIVED else []
        noticed += verdict is not Verdict.SURVIVED
        left = (time.monotonic() - began) / done * (len(chosen) - done)
        print(
            f"{done}/{len(chosen)}  {noticed} noticed, {len(survivors)} survived, {left / 60:.0f} "
            f"min left  {each.file}:{each.line} {verdict.value} in {seconds:.0f} s {by}",
            flush=True,
        )
    for each in survivors:
        print(f"\nsurvived: {each.file}:{each.line}\n{each.diff()}")
    print(f"\n{noticed} of {len(chosen)} mutants were noticed")
    return 1 if survivors else 0


@contextmanager
def _copy() -> Iterator[Path]:
    """A copy of the project, and room for services beside it; both go, also after a Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        shutil.copytree(ROOT, Path(folder) / "project", ignore=NOT_COPIED)
        yield Path(folder) / "project"


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
