"""The sandbox of `run_sale`: services of its own, no rate limit, and nothing else is removed."""

from pathlib import Path

import pytest

from demo import sandbox


def test_it_has_a_folder_of_its_own_and_no_limit(tmp_path: Path) -> None:
    environ = {"SECKILL_DEVSTACK": str(tmp_path / "mine"), "SECKILL_RATE_LIMIT": "5"}
    sandbox.enter(environ)
    assert environ == {
        "SECKILL_DEVSTACK": str(tmp_path / "mine-sandbox"),
        "SECKILL_RATE_LIMIT": "0",
    }


def test_only_a_sandbox_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "mine"
    kept.mkdir()
    monkeypatch.setenv("SECKILL_DEVSTACK", str(kept))
    sandbox.leave()
    assert kept.exists()
    gone = tmp_path / "mine-sandbox"
    gone.mkdir()
    monkeypatch.setenv("SECKILL_DEVSTACK", str(gone))
    sandbox.leave()
    assert not gone.exists()
