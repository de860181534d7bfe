"""Mutants of SQL in a module's texts: half of what storing means, and cosmic-ray changes no text.

An operator like those of cosmic-ray. Knows SQL's words and none of its grammar.
"""

import re
from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Operator

SWAPS = {
    "AND": "OR", "OR": "AND", "IS NULL": "IS NOT NULL", "IS NOT NULL": "IS NULL",
    "NOT EXISTS": "EXISTS", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=",
    "+": "-", "-": "+", "min(": "max(", "max(": "min(", "sum(": "max(", "LEFT JOIN": "JOIN",
    "FOR SHARE": "", "FOR UPDATE": "", "DESC": "ASC", "true": "false", "false": "true",
    "IS DISTINCT FROM": "IS NOT DISTINCT FROM",
}  # fmt: skip
# The longest first. A sign stands between spaces, a word by itself.
TOKEN = re.compile(
    "|".join(
        rf"\b{re.escape(each)}\b" if each[-1].isalpha()
        else rf"\b{re.escape(each)}" if each[0].isalpha()
        else rf"(?<= ){re.escape(each)}(?= )"
        for each in sorted(SWAPS, key=len, reverse=True)
    )
)  # fmt: skip
# What only SQL has in capitals.
IS_SQL = re.compile(r"\b(SELECT|FROM|WHERE|AND|INSERT|UPDATE|FOR SHARE|FOR UPDATE)\b")
TEXTS = ("string", "fstring_string")


class ReplaceInSql(Operator):
    """One word or sign of a statement is another one."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        for found in _tokens(node):
            yield _place(node, found.start()), _place(node, found.end())

    def mutate(self, node: Any, index: int) -> Any:
        found = list(_tokens(node))[index]
        node.value = node.value[: found.start()] + SWAPS[found[0]] + node.value[found.end() :]
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


def _tokens(node: Any) -> Iterator["re.Match[str]"]:
    if node.type in TEXTS and IS_SQL.search(_whole(node).get_code()) and not _is_docstring(node):
        yield from TOKEN.finditer(node.value)


def _whole(node: Any) -> Any:
    """The text that it is a piece of."""
    while node.parent.type in ("strings", "fstring"):
        node = node.parent
    return node


def _is_docstring(node: Any) -> bool:
    return bool(_whole(node).parent.type == "simple_stmt")


def _place(node: Any, at: int) -> tuple[int, int]:
    """(line, column) of a place in its text."""
    line, column = node.start_pos
    before = node.value[:at].split("\n")
    return line + len(before) - 1, len(before[-1]) + (column if len(before) == 1 else 0)
