"""What a text advises to run is named whole, and works in the lane that it speaks of."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from seckill.config.layers import BASE_DIR
from seckill.errors import Refused
from seckill.formats.advice import COMMANDS, VERBS, advised, in_lane
from seckill.management.utility import OURS
from tests.unit.process.test_help import parser_of, parsers

OUR_COMMANDS = [name for name, app in get_commands().items() if str(app).partition(".")[0] in OURS]
# As texts name them where they mean the process, and give no advice.
PROCESSES = {
    ("seckill/audit/events.py", "run_events"),
    ("seckill/config/layers.py", "create_admin"),
}
# A command whose name is no other word, or a word where somebody is told to run it.
BARE = re.compile(
    r"(?<!manage\.py )(?<![\w./\"'-])(?:"
    + "|".join(name for name in OUR_COMMANDS if "_" in name)
    + r")\b|\b(?:run|start|see|loss) (?:"
    + "|".join(name for name in OUR_COMMANDS if "_" not in name)
    + r")\b"
)


def has_lane(parser: object) -> bool:
    return any("--lane" in action.option_strings for action in parser._actions)  # type: ignore[attr-defined]


def test_the_commands_are_those_with_a_lane() -> None:
    found, verbs = set(), {}
    for name in OUR_COMMANDS:
        whole, *each = parsers(parser_of(name))
        if has_lane(whole):
            found.add(name)
        elif laned := {one.prog.rpartition(" ")[2] for one in each if has_lane(one)}:
            verbs[name] = laned
    assert found == set(COMMANDS) | {"finish_activity"}
    assert verbs == {name: set(each) for name, each in VERBS.items()}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "manage.py recover shows the plan, --apply carries it out",
            "manage.py recover --lane north shows the plan, --apply carries it out",
        ),
        (
            "(manage.py set_stock 1001:10); then `manage.py audit`",
            "(manage.py set_stock --lane north 1001:10); then `manage.py audit --lane north`",
        ),
        (
            "manage.py recover --apply --from-kafka",
            "manage.py recover --lane north --apply --from-kafka",
        ),
        ("manage.py dead_letters list names", "manage.py dead_letters list --lane north names"),
        ("manage.py audit --all", "manage.py audit --all"),
        ("manage.py run_consumers, manage.py lanes", "manage.py run_consumers, manage.py lanes"),
    ],
)
def test_another_lane_than_main_is_named_once(text: str, told: str) -> None:
    assert in_lane(text, "main") == text
    assert in_lane(text, "north") == told == in_lane(told, "north")


def test_a_refusal_keeps_its_kind_and_field() -> None:
    with pytest.raises(Refused) as refused, advised("north"):
        raise Refused("load it: manage.py sync_from_db", "activity_id")
    assert str(refused.value) == "load it: manage.py sync_from_db --lane north"
    assert refused.value.field == "activity_id"


def texts(path: Path) -> Iterator[str]:
    """What a module tells: its texts without docstrings, and without the help of commands."""
    tree = ast.parse(path.read_text())
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in ("help", "description"):
            left_out |= {id(one) for one in ast.walk(node.value)}
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("help", "codes"):
            left_out |= {id(one) for one in ast.walk(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in left_out:
            text = node.value
            if isinstance(text, str) and " " in text:
                yield text


def test_no_text_names_a_command_without_manage_py() -> None:
    """`in_lane` would not find it."""
    found = {
        (path.relative_to(BASE_DIR).as_posix(), name)
        for room in ("seckill", "loadgen")
        for path in sorted((BASE_DIR / room).rglob("*.py"))
        if "migrations" not in path.parts
        for text in texts(path)
        for name in BARE.findall(text)
    }
    assert found == PROCESSES
