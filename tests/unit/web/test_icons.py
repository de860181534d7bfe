"""Each icon that a page names is in our font of icons; one that is not would show as its name."""

import re
from pathlib import Path

import unfold

from seckill.config.layers import BASE_DIR

ICONS = BASE_DIR / "seckill" / "static" / "seckill" / "icons" / "icons.txt"
TEMPLATES = (
    Path(unfold.__file__).parent / "templates",
    BASE_DIR / "seckill" / "templates",
    BASE_DIR / "seckill_project" / "templates",
)
SHOWN = re.compile(r'material-symbols-outlined[^>]*>\s*([a-z_]+)\s*<|icon="([a-z_]+)"')
GIVEN = re.compile(r'"?icon"?\s*[=:]\s*"([a-z_]+)"')


def test_all_icons_are_in_the_font() -> None:
    named = {
        name
        for folder in TEMPLATES
        for path in folder.rglob("*.html")
        for match in SHOWN.findall(path.read_text())
        for name in match
        if name
    }
    for folder in ("seckill", "seckill_project"):
        for path in (BASE_DIR / folder).rglob("*.py"):
            named |= set(GIVEN.findall(path.read_text()))
    assert len(named) > 20
    assert named - set(ICONS.read_text().split()) == set()
