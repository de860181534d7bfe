"""Every act of the table has its script, route, command, texts, translation and tests."""

import re
from typing import Any

import polib
import pytest
from django.core.management import load_command_class
from django.utils.translation import override

from seckill.config.layers import BASE_DIR
from seckill.control import acts
from seckill.control.acts import ACTS, BY_ITEM, RULES, ActKind, act_text
from seckill.control.checks import FIELDS
from seckill.control.tables import shown_fields
from seckill.web.admin import sentences
from seckill.web.admin.desk_acts import DEEDS
from seckill.web.api import api
from tests.helpers.script_calls import CALLS
from tests.mutants.targets import TARGETS

CATALOGUE = BASE_DIR / "seckill" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
every_kind = pytest.mark.parametrize("kind", ACTS.values(), ids=ACTS)
every_script = pytest.mark.parametrize(
    "kind", [kind for kind in ACTS.values() if kind.script], ids=lambda kind: kind.name
)


def test_an_unknown_name_stands_for_itself() -> None:
    assert act_text("an act of another version") == "an act of another version"


@every_script
def test_its_script_publishes_its_name(kind: ActKind) -> None:
    text = (BASE_DIR / "seckill" / "lua" / f"{kind.script}.lua").read_text()
    # One script may do two acts: the name is an argument then, and the contract says so.
    named = "conclude(command" in text and f'"{kind.name}"' in text
    assert f"conclude('{kind.name}'" in text or named


@every_script
def test_its_script_is_among_those_that_tests_call_and_break(kind: ActKind) -> None:
    assert kind.script in {call.script for call in CALLS}
    assert f"seckill/lua/{kind.script}.lua" in TARGETS


@every_script
def test_control_does_it(kind: ActKind) -> None:
    code = (BASE_DIR / "seckill" / "control" / "control.py").read_text()
    (name,) = (name for name, value in vars(acts).items() if value is kind)
    assert f"acts.{name}," in code


@every_kind
def test_its_route_is_in_the_api(kind: ActKind) -> None:
    routes: dict[str, Any] = api.get_openapi_schema()["paths"]
    assert {"post", "patch"} & set(routes[f"/v1{kind.route}"])


@every_kind
def test_its_command_is_known(kind: ActKind) -> None:
    name, *what = kind.command.split()
    parser = load_command_class("seckill", name).create_parser("manage.py", name)
    assert not what or f"{what[0]} " in parser.format_help().replace("\n", " ")


@every_script
def test_the_desk_has_a_button_for_it(kind: ActKind) -> None:
    assert any(deed.act is kind for deed in DEEDS.values()) == kind.at_desk


@every_kind
def test_its_name_and_fields_are_translated(kind: ActKind) -> None:
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE)) if entry.translated()}
    assert str(kind.text) in known
    with override("zh-hans"):
        assert kind.fields is BY_ITEM or not {*map(sentences.field_text, kind.fields)} & {
            *kind.fields
        }


def test_the_fields_of_the_rules_are_those_that_may_change() -> None:
    assert tuple(shown_fields(dict.fromkeys(FIELDS))) == RULES


@every_kind
def test_the_page_on_control_names_it(kind: ActKind) -> None:
    page = (BASE_DIR / "docs" / "control.md").read_text()
    assert re.search(rf"`{kind.name}`", page)
    assert f"`{kind.command}`" in page
