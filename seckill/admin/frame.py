"""The frame of the admin's pages: what unfold is told about all of them."""

from typing import Any

from django.http import HttpRequest


def without_inline_style(request: HttpRequest) -> dict[str, Any]:
    """The colours come from seckill/theme.css: unfold would write them into the page."""
    return {"colors": None}
