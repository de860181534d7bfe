"""The site's key: made once, whole, for its owner only; cookies by https where people come so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.state import keep_site_key
from seckill.config import embedded
from seckill.config.layers import BASE_DIR

SHOW_KEY = "from seckill_project import settings; print(settings.SECRET_KEY)"


def key_of_a_process(folder: Path, **variables: str) -> str:
    """What the settings have that a new process reads."""
    environ = {**os.environ, "SECKILL_DEVSTACK": str(folder), **variables}
    environ = {name: value for name, value in environ.items() if value}
    return subprocess.run(
        [sys.executable, "-c", SHOW_KEY],
        cwd=BASE_DIR,
        env=environ,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    kept = tmp_path / embedded.KEY_FILE
    keep_site_key(tmp_path)
    made = kept.read_text()
    assert len(made) > 50
    assert kept.stat().st_mode & 0o777 == 0o600
    keep_site_key(tmp_path)
    assert kept.read_text() == made
    assert list(tmp_path.iterdir()) == [kept]
    assert key_of_a_process(tmp_path, SECKILL_SECRET_KEY="") == made
    assert key_of_a_process(tmp_path, SECKILL_SECRET_KEY="given") == "given"


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    kept = tmp_path / embedded.KEY_FILE
    kept.touch(mode=0o644)
    keep_site_key(tmp_path)
    assert len(embedded.site_key(tmp_path)) > 50
    assert kept.stat().st_mode & 0o777 == 0o600


def test_settings_write_nothing(tmp_path: Path) -> None:
    """Without a key each process has one of its own."""
    first, second = (key_of_a_process(tmp_path, SECKILL_SECRET_KEY="") for _ in range(2))
    assert len(first) > 50
    assert first != second
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("origins", "secure"),
    [
        ("", False),
        ("https://a.example", True),
        ("https://a.example,https://b.example", True),
        ("https://a.example,http://b.example", False),
    ],
)
def test_cookies_need_https_where_all_origins_do(origins: str, secure: bool) -> None:
    code = (
        "from seckill_project import settings as s; "
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE)"
    )
    environ = {**os.environ, "SECKILL_TRUSTED_ORIGINS": origins, "SECKILL_SECRET_KEY": "k"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, env=environ, capture_output=True, check=True
    )
    assert said.stdout.decode().split() == [str(secure)] * 2
