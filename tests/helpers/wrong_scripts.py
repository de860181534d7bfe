"""Scripts that are wrong on purpose, for negative controls."""

import hashlib

import pytest

from seckill.lane import scripts
from seckill.lane.scripts import Script

# Where decide_batch finds out what it has decided before.
POSITION = "local stored = tonumber(redis.call('HGET', positions_key, field) or nil)"


def changed(name: str, right: str, wrong: str) -> Script:
    """The script with one place changed."""
    text = scripts.load(name).text
    assert text.count(right) == 1, right
    text = text.replace(right, wrong)
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, sha)


def change(monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    """Run this script with one place changed, until the test ends."""
    script, load = changed(name, right, wrong), scripts.load
    monkeypatch.setattr(
        "seckill.lane.client.scripts.load", lambda asked: script if asked == name else load(asked)
    )
