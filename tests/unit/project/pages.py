"""What Markdown pages name: links, paths, tests, commands. Finds what is not there.

Owns no page: each function takes a text and returns what is wrong with it, in words.
"""

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.core.management import get_commands, load_command_class

from seckill.config.layers import BASE_DIR

FOLDERS = ("bench", "demo", "deploy", "devstack", "docs", "loadgen", "seckill", "seckill_project")
FOLDERS += ("tests",)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Blank lines within a block are the block's.
INDENTED = re.compile(r"(?<=\n)(?:    .*\n?|\n(?=    ))+")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
TEST = re.compile(r"((?:\w+/)*test_\w+)(?:\.py)?(?: -k (\w+))?")


def code(text: str) -> list[str]:
    """All code of a page: the insides of backticks, and each line of its blocks."""
    blocks = FENCED.findall(text) + INDENTED.findall(text)
    inline = INLINE.findall(INDENTED.sub("", FENCED.sub("", text)))
    return inline + [line.strip() for block in blocks for line in block.splitlines()]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    made: set[str] = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{words}-{number}" if number else words) in made:
            number += 1
        made.add(anchor)
    return made


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links to files or headings that are not there."""
    broken = []
    for target in LINK.findall(INLINE.sub("", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if name and not file.exists():
            broken.append(f"{target}: no such file")
        elif anchor:
            there = text if file == page else file.read_text(encoding="utf-8")
            if anchor not in anchors(there):
                broken.append(f"{target}: no such heading")
    return broken


def missing_paths(page: Path, text: str) -> list[str]:
    """Paths in backticks that the repository does not have."""
    missing = []
    for word in (word for inside in INLINE.findall(text) for word in inside.split()):
        path = re.sub(r":.*", "", word).rstrip("/,;")
        if not re.fullmatch(r"[\w./-]+", path):
            continue
        if "/" in path:
            there = (BASE_DIR / path).exists() or path.split("/")[0] not in FOLDERS
        elif path.endswith((".md", ".py", ".lua")):
            there = (page.parent / path).exists() or path in _names()
        else:
            continue
        if not there:
            missing.append(path)
    return missing


@cache
def _names() -> frozenset[str]:
    files = [file for folder in FOLDERS for file in (BASE_DIR / folder).rglob("*.*")]
    return frozenset(file.name for file in (*files, *BASE_DIR.glob("*.*")))


def missing_tests(text: str) -> list[str]:
    """Tests in backticks that are not there: `test_x`, `integration/test_x`, `test_x -k word`."""
    missing = []
    for inside in INLINE.findall(text):
        named = TEST.fullmatch(inside)
        if named is None:
            continue
        name, word = named.groups()
        files = list((BASE_DIR / "tests").rglob("test_*.py"))
        found = [f for f in files if f.with_suffix("").as_posix().endswith(f"/{name}")]
        if not any(word is None or word.lower() in f.read_text().lower() for f in found):
            missing.append(inside)
    return missing


def wrong_commands(text: str) -> list[str]:
    """Commands that `manage.py` does not have, or flags that the command does not know."""
    wrong = []
    for line, name, rest in _calls(code(text)):
        if name not in get_commands():
            wrong.append(f"{line}: no command {name}")
            continue
        parser, words = _parser(name), [w for w in rest.split() if not w.startswith("-")]
        known = _flags(parser)
        for subcommands in _subcommands(parser):
            if words and words[0] in subcommands:
                known |= _flags(subcommands[words[0]])
            elif words and re.fullmatch(r"[a-z]+", words[0]):
                wrong.append(f"{line}: {name} has no {words[0]}")
        wrong += [
            f"{line}: {name} has no {flag}" for flag in FLAG.findall(rest) if flag not in known
        ]
    return wrong


def unknown_flags(text: str) -> list[str]:
    """Flags that stand alone in backticks, and that no command of ours knows."""
    alone = [FLAG.match(inside) for inside in INLINE.findall(text)]
    return [flag[0] for flag in alone if flag and flag[0] not in _all_flags()]


@cache
def _all_flags() -> frozenset[str]:
    known: set[str] = set()
    for name in _ours():
        known |= _flags(_parser(name))
        for subcommands in _subcommands(_parser(name)):
            known = known.union(*map(_flags, subcommands.values()))
    return frozenset(known)


def _ours() -> set[str]:
    return {name for name, app in get_commands().items() if app.split(".")[0] in FOLDERS}


def _calls(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """(line, command, the rest) of each call of a command in lines of code."""
    for line in lines:
        for called in re.finditer(r"manage\.py +([a-z_]+)([^&|;]*)", line):
            yield line, called[1], called[2].split("manage.py")[0]
        name, _, rest = line.partition(" ")
        if name in _ours() and "--" in rest:
            yield line, name, rest


@cache
def _parser(name: str) -> argparse.ArgumentParser:
    app = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    return command.create_parser("manage.py", name)


def _flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[dict[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield action.choices  # type: ignore[misc]


def wrong_targets(text: str) -> list[str]:
    """Targets that the Makefile does not have."""
    makefile = (BASE_DIR / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = [re.match(r"make ([a-z-]+)", line) for line in code(text)]
    return [f"make {target[1]}" for target in named if target and target[1] not in known]
