"""The outcomes: one enum in Python, and the same numbers in the header of the script."""

import re

import pytest

from seckill.consumer.engine import Status
from seckill.formats.outcomes import (
    MAX_ID,
    MAX_ITEMS,
    MAX_QUANTITY,
    MAX_TIME_MS,
    MAX_UNITS,
    OUTCOME_OF_DIGIT,
    Outcome,
)
from seckill.lane import scripts
from seckill.lane.board import CANCELLED, EXPIRED, PAID
from seckill.lane.held import BLOCK
from seckill.lane.holds import SettleOutcome, SettleStatus
from seckill.lane.keys import BOARD_STRING

NAME_AND_NUMBER = re.compile(r"\b([A-Z][A-Z_]+) (-?\d+)\b")


def header(name: str) -> str:
    """The comment at the top of a script, as one text."""
    lines = scripts.load(name).text.splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return " ".join(" ".join(line.removeprefix("--") for line in lines[:end]).split())


def constants(name: str) -> dict[str, int]:
    """Every `local A, B = 1, 2` of numbers in a script's body."""
    found = {}
    for names, values in re.findall(
        r"^local ([A-Z_, ]+) = ([-\d, ]+)$", scripts.load(name).text, re.MULTILINE
    ):
        found.update(zip(names.split(", "), map(int, values.split(", ")), strict=True))
    return found


def test_the_scripts_header_repeats_the_outcomes() -> None:
    text = header("decide_batch")
    outcomes = text[text.index("outcomes one byte") :]
    said = {name: int(number) for name, number in NAME_AND_NUMBER.findall(outcomes)}
    assert said == {outcome.name: outcome.value for outcome in Outcome}


def test_the_scripts_header_repeats_the_statuses() -> None:
    text = header("decide_batch")
    statuses = text[text.index("status DECIDED") : text.index("outcomes one byte")]
    said = {name: int(number) for name, number in NAME_AND_NUMBER.findall(statuses)}
    assert said == {status.name: status.value for status in Status}


def test_the_scripts_body_uses_the_numbers_of_its_header() -> None:
    body = constants("decide_batch")
    for enum in (Outcome, Status):
        assert {member.name: body.get(member.name) for member in enum} == {
            member.name: member.value for member in enum
        }


def test_the_script_of_settlements_has_the_same_numbers_and_bytes() -> None:
    body, text = constants("settle_batch"), scripts.load("settle_batch").text
    assert {status.name: body.get(status.name) for status in SettleStatus} == {
        status.name: status.value for status in SettleStatus
    }
    letters: dict[str, str] = {}
    for left, right in re.findall(r"^local ([A-Z_, ]+) = ((?:'.'(?:, )?)+)$", text, re.MULTILINE):
        letters |= dict(zip(left.split(", "), right.replace("'", "").split(", "), strict=True))
    names = {"PAID": PAID, "EXPIRED": EXPIRED, "CANCELLED": CANCELLED}
    assert {name: ord(letters[name]) for name in names} == names
    outcomes = {o.name: chr(o) for o in SettleOutcome if o.name not in ("PAID", "RELEASED")}
    assert {name: letters[name] for name in outcomes} == outcomes
    said = dict(re.findall(r"\b(\S) ([A-Z][A-Z_]+)\b", header("settle_batch")))
    for outcome in SettleOutcome:
        if outcome not in (SettleOutcome.INVALID, SettleOutcome.WAIT):
            assert said[chr(outcome)] == outcome.name


def test_the_header_and_the_body_give_an_outcome_the_same_byte() -> None:
    text = header("decide_batch")
    accepted = re.search(r'ACCEPTED 1 is "(.)"', text)
    others = re.search(r'are "(.)" to "(.)"', text)
    assert accepted is not None
    assert others is not None
    body = dict(re.findall(r"\[([A-Z_]+)\] = '(.)'", scripts.load("decide_batch").text))
    assert body == {outcome.name: chr(byte) for byte, outcome in OUTCOME_OF_DIGIT.items()}
    assert body["ACCEPTED"] == accepted[1]
    refused = sorted(digit for name, digit in body.items() if name != "ACCEPTED")
    assert (refused[0], refused[-1]) == others.groups()


@pytest.mark.parametrize("path", sorted(scripts.FOLDER.glob("*.lua")), ids=lambda path: path.stem)
def test_a_script_begins_with_its_contract(path) -> None:
    said = header(path.stem)
    text = path.read_text()
    assert said.startswith(f"{path.stem}: ")
    assert "Returns" in said
    body = text[text.index("\n\n") :]
    # What the body takes by number is on a line of the header.
    for place in set(re.findall(r"\b((?:KEYS|ARGV)\[\d+\])", body)):
        assert place in said, f"{place} is not explained"


def test_the_scripts_have_the_blocks_that_python_reads() -> None:
    for script in ("decide_batch", "settle_batch", "expire_holds"):
        body = constants(script)
        assert (body["BLOCK"], body["BOARD_STRING"]) == (BLOCK, BOARD_STRING)


def test_limits_are_exact_in_lua_and_fit_postgresql() -> None:
    assert MAX_ID == 2**63 - 1
    assert MAX_TIME_MS <= 2**53
    assert 1000 * MAX_UNITS < 2**53
    assert MAX_ITEMS * MAX_QUANTITY < 2**53
