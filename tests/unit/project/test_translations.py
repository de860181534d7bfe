"""The Chinese catalogue: complete, compiled, and with the placeholders of the English texts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.utils.translation.template import templatize

from seckill.config.layers import BASE_DIR

CATALOGUE = BASE_DIR / "seckill" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
CALLS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}
FOLDERS = ("seckill", "seckill_project", "loadgen", "devstack")


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    """The file that people edit."""
    return polib.pofile(str(CATALOGUE))


def source_texts(path: Path) -> Iterator[str]:
    """The literal texts that a Python file has translated."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            first = node.args[0] if node.args else None
            if node.func.id in CALLS and isinstance(first, ast.Constant):
                yield str(first.value)


def template_texts(path: Path) -> Iterator[str]:
    """The texts that a template has translated."""
    for call in re.finditer(
        r"gettext\((u?'.*?(?<!\\)'|u?\".*?(?<!\\)\")", templatize(path.read_text())
    ):
        yield ast.literal_eval(call[1].removeprefix("u"))


def texts() -> dict[str, str]:
    """{text: where it stands} of everything of ours that can be translated."""
    found = {}
    for folder in FOLDERS:
        for path in (BASE_DIR / folder).rglob("*.py"):
            found.update(dict.fromkeys(source_texts(path), path.name))
        for path in (BASE_DIR / folder).rglob("*.html"):
            found.update(dict.fromkeys(template_texts(path), path.name))
    return found


def test_every_text_of_ours_has_its_translation(catalogue: polib.POFile) -> None:
    known = {entry.msgid for entry in catalogue if entry.translated()}
    wanted = texts()
    assert len(wanted) > 250
    missing = {text: where for text, where in wanted.items() if text not in known}
    assert missing == {}, f"run `make messages`, translate what is new in {CATALOGUE}, run it again"
    assert known - set(wanted) == set()


def test_nothing_is_fuzzy_or_empty(catalogue: polib.POFile) -> None:
    assert [entry.msgid for entry in catalogue.fuzzy_entries()] == []
    assert [entry.msgid for entry in catalogue.untranslated_entries()] == []
    assert "fuzzy" not in CATALOGUE.read_text()


def test_the_compiled_catalogue_is_that_of_the_source(catalogue: polib.POFile) -> None:
    compiled = polib.mofile(str(CATALOGUE.with_suffix(".mo")))
    assert {(e.msgctxt, e.msgid): (e.msgstr, e.msgstr_plural) for e in compiled} == {
        (e.msgctxt, e.msgid): (e.msgstr, e.msgstr_plural) for e in catalogue
    }


def test_placeholders_and_tags_are_the_same(catalogue: polib.POFile) -> None:
    marks = re.compile(r"%\(\w+\)s|\{\w*\}|<[^>]+>")
    for entry in catalogue:
        for translation in [entry.msgstr, *entry.msgstr_plural.values()]:
            if translation:
                assert sorted(marks.findall(translation)) == sorted(marks.findall(entry.msgid))
