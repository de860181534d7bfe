"""docs/configuration.md: it is what the command prints, and names every parameter."""

from io import StringIO

import pytest
from django.core.management import call_command

from seckill.config.layers import BASE_DIR
from seckill.config.reference import reference
from seckill.config.sections import SECTIONS, Section


def test_the_page_is_what_the_command_prints() -> None:
    printed = StringIO()
    call_command("config_reference", stdout=printed)
    page = (BASE_DIR / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == printed.getvalue(), "run make config-reference"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_page_names_every_parameter_once_and_says_what_it_means(section: type[Section]) -> None:
    part = reference().split(f"\n## Section `{section.name}`\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(section.model_fields)
    assert all(len(row) == 4 and all(row) for row in rows)
