"""Scripts that are wrong on purpose, for negative controls."""

import hashlib

import pytest

from seckill.lane import scripts
from seckill.lane.scripts import Script


def change(monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    """Run this script with one place changed, until the test ends."""
    before = scripts.load(name)
    assert before.text.count(right) == 1
    text = before.text.replace(right, wrong)
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    load = scripts.load
    monkeypatch.setattr(
        "seckill.lane.client.scripts.load",
        lambda asked: Script(name, text, sha) if asked == name else load(asked),
    )
