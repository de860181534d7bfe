"""Each icon that a page names is in our font of icons; one that is not would show as its name."""

import re
from pathlib import Path
from typing import Any

import unfold
from django.conf import settings

from seckill.config.layers import BASE_DIR

ICONS = BASE_DIR / "seckill" / "static" / "seckill" / "icons" / "icons.txt"
TEMPLATES = (
    Path(unfold.__file__).parent / "templates",
    BASE_DIR / "seckill" / "templates",
    BASE_DIR / "seckill_project" / "templates",
)
SHOWN = re.compile(r'material-symbols-outlined[^>]*>\s*([a-z_]+)\s*<|icon="([a-z_]+)"')
# unfold's style sheet brings some: the calendar beside a date, for example.
STYLES = Path(unfold.__file__).parent / "static" / "unfold" / "css" / "styles.css"
STYLED = re.compile(r'content:"([a-z_]+)"')
# Those of its text editor and of fields that we have none of.
NOT_USED = {
    *("compress", "expand", "format_align_left", "format_align_right", "handyman", "redo", "sort"),
    *("keyboard_double_arrow_down", "keyboard_double_arrow_up", "toolbar", "transform", "update"),
}
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
    # Those of the navigation are no literals beside their key.
    navigation: Any = settings.UNFOLD["SIDEBAR"]["navigation"]
    named |= {item["icon"] for group in navigation for item in group["items"]}
    named |= set(STYLED.findall(STYLES.read_text())) - NOT_USED
    assert len(named) > 20
    assert named - set(ICONS.read_text().split()) == set()
