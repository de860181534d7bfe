"""What `make mutants` is made of: small changes, the same ones for a seed, but for known ones."""

import ast

import pytest

from seckill.config.layers import BASE_DIR
from tests.mutants import lua, python
from tests.mutants.__main__ import choose, sites_of, stale
from tests.mutants.mutant import Equivalent, Site, equivalents
from tests.mutants.targets import TARGETS

SCRIPT = """\
#!lua
-- what is 1 + 1 here?
local limit = tonumber(ARGV[1])
if limit < -1 then return 0 end
redis.call('SET', KEYS[1], '1 + 1',
  limit + 1)
return not limit or limit == 2
"""
MODULE = '''\
"""What is 1 + 1 here?"""
def f(limit):
    log.info("at %d", limit)
    log.info(
        "at %d", limit + 1)
    if limit < 1:
        raise ValueError(limit)
    return limit + 1 == 2 and not g(limit)
'''

STATEMENTS = '''\
"""What is sold AND = dead?"""
OPEN = "SELECT 1 AND 2, a = b"
COUNT = f"""
SELECT max(id) + 1 FROM {TABLE}
WHERE a IS NULL AND b >= c"""
log.warning("a = b AND c")
told = "the list = the rows"
'''


def changes(sites: list[Site]) -> set[tuple[int, str]]:
    """(line, what stands there instead) of all mutants."""
    found = [site.mutant() for site in sites]
    return {(each.line, each.after) for each in found if each}


def test_mutants_of_a_script() -> None:
    found = changes(list(lua.sites("x.lua", SCRIPT)))
    assert found == {
        (3, "local limit = tonumber(ARGV[2])"),
        (3, "local limit = tonumber(ARGV[0])"),
        (4, "if limit <= -1 then return 0 end"),
        (4, "if limit < -2 then return 0 end"),
        (4, "if limit < -0 then return 0 end"),
        (4, "if false then return 0 end"),
        (4, "if limit < -1 then return 1 end"),
        (4, "if limit < -1 then return -1 end"),
        (5, ""),
        (5, "redis.call('SET', KEYS[2], '1 + 1',"),
        (5, "redis.call('SET', KEYS[0], '1 + 1',"),
        (6, "limit - 1)"),
        (6, "limit + 2)"),
        (6, "limit + 0)"),
        (7, "return  limit or limit == 2"),
        (7, "return not limit and limit == 2"),
        (7, "return not limit or limit ~= 2"),
        (7, "return not limit or limit == 3"),
        (7, "return not limit or limit == 1"),
    }


def test_mutants_of_a_module() -> None:
    found = changes(list(python.sites("x.py", MODULE)))
    assert found >= {
        (6, "if not limit < 1:"),
        (6, "if limit <= 1:"),
        (7, "pass"),
        (8, "return limit - 1 == 2 and not g(limit)"),
        (8, "return limit + 1 == 2 or not g(limit)"),
        (8, "return limit + 1 != 2 and not g(limit)"),
    }
    # Neither what it says of itself, nor what it tells people.
    assert {line for line, _ in found} == {6, 7, 8}


def test_mutants_of_sql() -> None:
    assert changes(list(python.sites("x.py", STATEMENTS))) == {
        (2, 'OPEN = "SELECT 1 OR 2, a = b"'),
        (2, 'OPEN = "SELECT 1 AND 2, a <> b"'),
        (4, "SELECT min(id) + 1 FROM {TABLE}"),
        (4, "SELECT max(id) - 1 FROM {TABLE}"),
        (5, 'WHERE a IS NOT NULL AND b >= c"""'),
        (5, 'WHERE a IS NULL OR b >= c"""'),
        (5, 'WHERE a IS NULL AND b > c"""'),
    }


@pytest.mark.parametrize("file", ["seckill/lua/decide_batch.lua", "seckill/consumer/guard.py"])
def test_each_mutant_is_one_change_that_can_run(file: str) -> None:
    for site in sites_of(file)[::25]:
        found = site.mutant()
        if found is None:
            continue
        source = (BASE_DIR / file).read_text(encoding="utf-8")
        assert found.text != source
        assert found.before in "\n".join(line.strip() for line in source.splitlines())
        if file.endswith(".py"):
            ast.parse(found.text)


def test_a_seed_chooses_the_same_ones_and_passes_over_what_is_known() -> None:
    files = ["seckill/lua/trim_batch.lua", "seckill/lane/fence.py"]
    first = choose(files, 10, 7, [])
    assert (len(first), first) == (10, choose(files, 10, 7, []))
    assert first != choose(files, 10, 8, [])
    known = Equivalent(first[0].file, first[0].before, first[0].after, "not to be seen")
    assert first[0] not in choose(files, 1000, 7, [known])
    any_change = Equivalent(first[0].file, first[0].before, "*", "not to be seen")
    left = choose(files, 1000, 7, [any_change])
    assert left
    assert not any((it.file, it.before) == (first[0].file, first[0].before) for it in left)
    assert not stale([known])


def test_an_entry_of_which_the_code_has_changed_is_told() -> None:
    gone = Equivalent("seckill/lane/fence.py", "if there_is_no_such_line:", "pass", "-")
    other = Equivalent("seckill/lua/finish.lua", "if refused then return refused end", "-", "-")
    assert stale([gone, other]) == [gone, other]


def test_the_entries_are_true_and_say_why() -> None:
    known = equivalents()
    assert stale(known) == []
    assert all(len(each.why.split()) > 3 for each in known)


def test_the_targets_are_there() -> None:
    for file, tests in TARGETS.items():
        assert (BASE_DIR / file).is_file()
        for test in tests:
            path, *names = test.split("::")
            text = (BASE_DIR / path).read_text(encoding="utf-8")
            assert all(f"{name}(" in text or f"class {name}" in text for name in names), test
