"""Mutants of a Lua script: one token changed, one call left out, one refusal never given.

Knows Lua's tokens and none of its grammar: what a script means is the tests' business.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tests.mutants.mutant import Site

TOKEN = re.compile(
    r"""(?P<skip>\s+|--\[\[.*?\]\]|--[^\n]*|\#![^\n]*)
    |(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    |(?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>\.\.\.?|[=~<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
SWAPS = {
    ">": ">=", ">=": ">", "<": "<=", "<=": "<", "==": "~=", "~=": "==", "+": "-", "-": "+",
    "and": "or", "or": "and", "true": "false", "false": "true", "max": "min", "min": "max",
}  # fmt: skip
WORDS = {
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}  # fmt: skip
# What stands before the first token of a statement, beside names, values and brackets.
ENDS = {"then", "do", "else", "end", "repeat", "true", "false", "nil"}


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


def sites(file: str, source: str) -> Iterator[Site]:
    """Where mutants of a script can be made, in order."""
    tokens = [
        Token(found.lastgroup or "", found[0], found.start(), found.end())
        for found in TOKEN.finditer(source)
        if found.lastgroup != "skip"
    ]
    for place, token in enumerate(tokens):
        for end, text in _changes(tokens, place):
            changed = source[: token.start] + text + source[end:]
            line = source.count("\n", 0, token.start) + 1
            yield Site(file, source, line, partial(str, changed))


def _changes(tokens: list[Token], place: int) -> Iterator[tuple[int, str]]:
    """(where the replaced part ends, what stands there instead) of changes that begin here."""
    token, before = tokens[place], tokens[place - 1] if place else Token("", "", 0, 0)
    if token.text in SWAPS and (token.text not in "+-" or _is_operand(before)):
        yield token.end, SWAPS[token.text]
    if token.text == "not":
        yield token.end, ""
    if token.kind == "number":
        number = float(token.text) if re.search(r"[.eE]", token.text) else int(token.text, 0)
        yield token.end, f"{number + 1:.0f}"
        yield token.end, f"{number - 1:.0f}"
    if _begins_call(tokens, place, before):
        last = _end_of_call(tokens, place)
        if last is not None:
            yield tokens[last].end, ""
    if token.text in ("if", "elseif"):
        then = next(i for i in range(place, len(tokens)) if tokens[i].text == "then")
        if tokens[then + 1].text == "return":
            yield tokens[then].start, f"{token.text} false "


def _is_operand(token: Token) -> bool:
    named = token.kind == "name" and token.text not in WORDS
    return named or token.kind in ("number", "text") or token.text in (")", "]", "}")


def _begins_call(tokens: list[Token], place: int, before: Token) -> bool:
    token = tokens[place]
    if token.kind != "name" or token.text in WORDS:
        return False
    return before.text in ENDS or _is_operand(before)


def _end_of_call(tokens: list[Token], place: int) -> int | None:
    """The place of the bracket that ends a call which is a statement; None: it is no call."""
    place += 1
    while tokens[place].text == ".":
        place += 2
    if tokens[place].text != "(":
        return None
    depth = 0
    for last in range(place, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[last].text, 0)
        if depth == 0:
            return last
    return None
