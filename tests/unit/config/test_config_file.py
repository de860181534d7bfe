"""The committed config.yaml: it changes nothing as it is, and shows every key with its default."""

import re
from pathlib import Path

import pytest
import yaml

from seckill.config.layers import BASE_DIR, load, read_file
from seckill.config.sections import SECTIONS, Section
from tests.unit.project.compose_file import read


def test_config_yaml_changes_nothing_as_it_is() -> None:
    assert read_file(BASE_DIR / "config.yaml") == {}
    assert list(yaml.safe_load(read("config.yaml"))) == [section.name for section in SECTIONS]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_config_yaml_shows_every_key_with_its_default(
    section: type[Section], tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(re.sub(r"^  # (\w+:)", r"  \1", read("config.yaml"), flags=re.MULTILINE))
    text = file.read_text().split(f"{section.name}:\n")[1].split("\n\n")[0]
    assert re.findall(r"^  (\w+):", text, re.MULTILINE) == list(section.model_fields)
    assert all(re.search(r" # \S", line) for line in text.splitlines()), "a key without meaning"
    environ = {"SECKILL_CONFIG": str(file), "SECKILL_DEVSTACK": str(tmp_path)}
    assert load(section, environ=environ) == section.model_validate({})
    shown = read_file(file)[section.name]
    empty = {key for key, field in section.model_fields.items() if field.default is None}
    assert shown.keys() == section.model_fields.keys() - empty
