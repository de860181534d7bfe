"""The pages are true in what can be checked: links, paths, tests, commands and their flags."""

import re
from pathlib import Path

import pytest

from seckill.config.layers import BASE_DIR
from tests.unit.project.pages import (
    FOLDERS,
    anchors,
    broken_links,
    code,
    missing_paths,
    missing_tests,
    unknown_flags,
    wrong_commands,
    wrong_targets,
)

PAGES = sorted([*BASE_DIR.glob("*.md"), *(BASE_DIR / "docs").rglob("*.md")])
HERE = BASE_DIR / "docs" / "a page.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(BASE_DIR).as_posix())
class TestPages:
    """Each page of the repository."""

    def test_every_link_leads_somewhere(self, page: Path) -> None:
        assert broken_links(page, page.read_text(encoding="utf-8")) == []

    def test_every_path_is_there(self, page: Path) -> None:
        assert missing_paths(page, page.read_text(encoding="utf-8")) == []

    def test_every_test_is_there(self, page: Path) -> None:
        assert missing_tests(page.read_text(encoding="utf-8")) == []

    def test_every_command_and_flag_is_known(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        assert wrong_commands(text) + unknown_flags(text) == []

    def test_every_target_of_make_is_known(self, page: Path) -> None:
        assert wrong_targets(page.read_text(encoding="utf-8")) == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (BASE_DIR / "README.md").read_text(encoding="utf-8")
    docs = [page.relative_to(BASE_DIR).as_posix() for page in PAGES if page.name[:6] != "README"]
    assert len(docs) > 15
    assert [page for page in docs if f"]({page})" not in readme] == []


def test_every_page_that_the_code_names_is_there() -> None:
    named = {
        (file.relative_to(BASE_DIR).as_posix(), *link.partition("#")[::2])
        for folder in FOLDERS
        for file in (BASE_DIR / folder).rglob("*.*")
        if file.suffix in (".py", ".lua", ".yml", ".html", ".toml")
        for link in re.findall(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for file, page, anchor in sorted(named):
        assert (BASE_DIR / page).exists(), f"{file}: {page}"
        known = anchors((BASE_DIR / page).read_text(encoding="utf-8"))
        assert not anchor or anchor in known, f"{file}: {page}#{anchor}"


class TestTheChecksCanFail:
    """Each check finds what is wrong, and nothing else."""

    def test_links(self) -> None:
        text = "# A b: `c`\n[1](faq.md) [2](none.md) [3](#a-b-c) [4](#none) [5](faq.md#none)"
        text += "\n`[6](none.md)`\n```\n[7](none.md)\n```\n[8](https://none.example)"
        assert broken_links(HERE, text) == [
            "none.md: no such file",
            "#none: no such heading",
            "faq.md#none: no such heading",
        ]

    def test_headings_of_one_name_are_numbered(self) -> None:
        assert anchors("# Audit\n## Audit\n### The five: `x`, *y*") == {
            *("audit", "audit-1", "the-five-x-y")
        }

    def test_paths(self) -> None:
        text = "`seckill/lane/keys.py` `seckill/none.py` `tests/unit/` `docs/none` `none.md`"
        text += " `faq.md` `decide_batch.lua` `none.lua` `seckill/lane/*.py` `sale/1` `a.yaml`"
        assert missing_paths(HERE, text) == ["seckill/none.py", "docs/none", "none.md", "none.lua"]

    def test_tests(self) -> None:
        text = "`test_docs` `project/test_docs` `faults/test_docs` `test_none` `test_docs -k zqx`"
        # Put together here, or the word would stand in this file.
        text = text.replace("zqx", "z" + "qxw")
        assert missing_tests(text) == ["faults/test_docs", "test_none", "test_docs -k z" + "qxw"]

    def test_commands(self) -> None:
        text = "`manage.py audit --kafka` `manage.py audit [--none]` `manage.py nothing`\n"
        text += "`recover --apply` `recover --none` `dead_letters replay --records --yes`\n"
        text += "`manage.py dead_letters burn` `dead_letters list --records`\n\n"
        text += '    eval "$(manage.py devstack env)"; manage.py pause --now &\n'
        assert [wrong.split(": ", 1)[1] for wrong in wrong_commands(text)] == [
            "audit has no --none",
            "no command nothing",
            "recover has no --none",
            "dead_letters has no burn",
            "dead_letters has no --records",
            "pause has no --now",
        ]

    def test_flags_that_stand_alone(self) -> None:
        text = "`--drain-limit 60` `--records` `--none` `st run --none`"
        assert unknown_flags(text) == ["--none"]

    def test_targets_of_make(self) -> None:
        assert wrong_targets(
            "`make lint` `make none`\n\n    make run  # all\n    make nought\n"
        ) == [*("make none", "make nought")]

    def test_code_is_found_in_backticks_and_in_blocks(self) -> None:
        assert code("a `b c` d\n# h\n    e f\n\n    i\n\n```sh\ng\n```\n") == [
            *("b c", "```sh", "g", "```", "e f", "", "i")
        ]
