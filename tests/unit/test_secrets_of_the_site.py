"""The site's key: made once, whole, for its owner only; cookies by https where people come so."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seckill.config.layers import BASE_DIR
from seckill_project import settings


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key is kept."""
    monkeypatch.delenv("SECKILL_SECRET_KEY", raising=False)
    monkeypatch.setenv("SECKILL_DEVSTACK", str(tmp_path))
    return tmp_path / "secret_key"


def test_a_key_is_made_once_and_for_its_owner_only(kept: Path) -> None:
    made = settings._secret_key()
    assert len(made) > 50
    assert settings._secret_key() == made == kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(kept.parent.iterdir()) == [kept]


def test_an_empty_file_is_no_key(kept: Path) -> None:
    kept.touch(mode=0o644)
    made = settings._secret_key()
    assert len(made) > 50
    assert settings._secret_key() == made
    assert kept.stat().st_mode & 0o777 == 0o600


def test_all_who_find_it_empty_get_the_same_key(kept: Path) -> None:
    for _ in range(40):
        kept.write_text("")
        together = threading.Barrier(8)

        def make(together: threading.Barrier = together) -> str:
            together.wait(30)
            return settings._secret_key()

        with ThreadPoolExecutor(8) as pool:
            keys = {made.result() for made in [pool.submit(make) for _ in range(8)]}
        assert keys == {kept.read_text()}
    assert list(kept.parent.iterdir()) == [kept]


def test_who_comes_second_takes_the_key_of_the_first(kept: Path) -> None:
    kept.write_text("first")
    assert settings._keep(kept) == "first"
    assert list(kept.parent.iterdir()) == [kept]


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
