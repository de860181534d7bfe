"""Mutants of a Python module, made by the operators of cosmic-ray, and two more.

Its runner is not used: it changes the files in place, and knows no services that stay.
"""

import ast
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

from tests.mutants.mutant import Site
from tests.mutants.sql import ReplaceInSql

# Those that change what a line does, not whether it can run at all.
OPERATORS = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr",
    "ReplaceOrWithAnd", "NumberReplacer", "ExceptionReplacer", "ZeroIterationForLoop",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak",
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub",
    "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_FloorDiv", "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is",
)  # fmt: skip
# What its ExceptionReplacer makes of a name with dots.
GLUED = re.compile(r"\wCosmicRayTestingException|CosmicRayTestingException\w")
# Like `strict=`, what only keeps programmers from a mistake.
NOT_TESTED = "@dataclass"


class LeaveOut(Operator):
    """A statement that is a call, a `raise` or a change (`x += 1`, `del x`) is left out."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt" and self._acts(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        statement = node.children[0]
        node.children[0] = parso.python.tree.Keyword(
            "pass", statement.start_pos, statement.get_first_leaf().prefix
        )
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()

    @staticmethod
    def _acts(statement: Any) -> bool:
        if statement.type in ("atom_expr", "power"):
            return bool(statement.children[-1].get_code().startswith("("))
        if statement.type == "expr_stmt":
            return statement.children[1].type == "operator" and statement.children[1].value != "="
        return statement.type in ("raise_stmt", "del_stmt")


def sites(file: str, source: str) -> Iterator[Site]:
    """Where mutants of a module can be made, in order."""
    provider = OperatorProvider()
    operators = [*(provider[name]() for name in OPERATORS), LeaveOut(), ReplaceInSql()]
    lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
    places = []
    for kind, operator in enumerate(operators):
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        places += [(start, kind, number) for number, start in enumerate(starts)]
    told = set(_lines_of_logs(source))
    for (line, column), kind, number in sorted(places):
        text = lines[line - 1]
        if line in told or text.strip().startswith(NOT_TESTED):
            continue
        if not text[:column].endswith(" strict="):
            yield Site(file, source, line, partial(_changed, source, operators[kind], number))


def _lines_of_logs(source: str) -> Iterator[int]:
    """What is written for people alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _changed(source: str, operator: Operator, number: int) -> str | None:
    text: str | None = mutate_code(source, operator, number)
    if GLUED.search(text or ""):
        return None
    try:
        ast.parse(text or "")
    except SyntaxError:
        return None
    return text
