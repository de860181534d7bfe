"""One small change to one file; where such changes can be made; those that no test can notice."""

import difflib
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

EQUIVALENTS = Path(__file__).parent / "equivalents.toml"
ANYTHING = "*"


@dataclass(frozen=True)
class Mutant:
    """`file` is relative to the project, `line` the first one that differs; `text` is the whole
    changed file. `before` and `after` are the lines that differ, without their indentation."""

    file: str
    line: int
    before: str
    after: str
    text: str

    def diff(self) -> str:
        """The change, for a person."""
        lines = [f"- {line}" for line in self.before.splitlines()]
        return "\n".join([*lines, *(f"+ {line}" for line in self.after.splitlines())])


@dataclass(frozen=True)
class Site:
    """A place where a mutant can be made, by its first line. `make` returns the whole changed text,
    None where that could not run."""

    file: str
    source: str
    line: int
    make: Callable[[], str | None]

    def mutant(self) -> Mutant | None:
        """The mutant of this place."""
        text = self.make()
        if text is None or text == self.source:
            return None
        old, new = self.source.splitlines(), text.splitlines()
        changes = [
            change
            for change in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
            if change[0] != "equal"
        ]
        before = [line.strip() for _, low, high, _, _ in changes for line in old[low:high]]
        after = [line.strip() for _, _, _, low, high in changes for line in new[low:high]]
        return Mutant(self.file, changes[0][1] + 1, _lines(before), _lines(after), text)


@dataclass(frozen=True)
class Equivalent:
    """A mutant that no test can tell from the original, or that is no fault; and why. `after` is
    ANYTHING where the line is a choice, such as a time that is waited."""

    file: str
    before: str
    after: str
    why: str

    def is_it(self, found: Mutant) -> bool:
        """Whether it is this one."""
        same = (found.file, found.before) == (self.file, self.before)
        return same and self.after in (ANYTHING, found.after)

    def is_among(self, sites: Iterable[Site]) -> bool:
        """Whether the code is still such that this mutant can be made."""
        first = self.before.splitlines()[0]
        near = (s for s in sites if s.file == self.file and _starts(s, first))
        return any(found is not None and self.is_it(found) for found in (s.mutant() for s in near))


def equivalents(file: Path = EQUIVALENTS) -> list[Equivalent]:
    """All that are known."""
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("mutant", [])
    return [
        Equivalent(
            **{key: _lines([line.strip() for line in text.splitlines()]) for key, text in e.items()}
        )
        for e in entries
    ]


def _lines(lines: list[str]) -> str:
    return "\n".join(filter(None, lines))


def _starts(site: Site, line: str) -> bool:
    return site.source.splitlines()[site.line - 1].strip() == line
