"""Static files: hashed, with the imports of our modules; as before where nothing can be written."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.templatetags.static import static
from django.test import Client
from django.test.utils import override_settings

from seckill.web import static_files
from seckill.web.static_files import HashedFiles, use_hashed_files


@pytest.fixture
def kept(settings: Any) -> Any:
    """The settings; what a test changes is put back."""
    for name in ("STATIC_ROOT", "STORAGES", "WHITENOISE_USE_FINDERS"):
        setattr(settings, name, getattr(settings, name, None))
    return settings


def test_files_are_collected_once_and_name_each_other(kept: Any, tmp_path: Path) -> None:
    assert use_hashed_files(tmp_path)
    (folder,) = tmp_path.iterdir()
    storage = HashedFiles(location=str(folder), base_url="/static/")
    page = folder / storage.stored_name("seckill/desk.js")
    imported = re.findall(r'from "\./(\w+)\.(\w*)\.?js"', page.read_text())
    assert {name for name, _ in imported} >= {"watch", "words", "desk_charts"}
    for name, digest in imported:
        assert (folder / "seckill" / f"{name}.{digest}.js").is_file(), name
    icons = (folder / storage.stored_name("seckill/icons/icons.css")).read_text()
    assert re.search(r'url\("icons\.\w{12}\.woff2"\)', icons)
    written = (folder / "staticfiles.json").stat().st_mtime_ns
    assert use_hashed_files(tmp_path)
    assert (folder / "staticfiles.json").stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [folder]


def test_another_content_is_another_folder(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = static_files._fingerprint()
    files = list(static_files._files())[:-1]
    monkeypatch.setattr(static_files, "_files", lambda: iter(files))
    assert static_files._fingerprint() != one


def test_without_a_place_to_write_they_are_served_as_before(
    kept: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    before = dict(kept.STORAGES)
    with caplog.at_level(logging.WARNING, logger="seckill"):
        assert not use_hashed_files(blocked)
    assert before == kept.STORAGES
    assert "without hashes" in caplog.text
    assert static("seckill/desk.css") == "/static/seckill/desk.css"


@override_settings(ALLOWED_HOSTS=["testserver"])
def test_what_is_answered_is_compressed(boss: Client) -> None:
    page = boss.get("/admin/", headers={"Accept-Encoding": "gzip"})
    assert page["Content-Encoding"] == "gzip"
    styles = boss.get("/static/unfold/css/styles.css", headers={"Accept-Encoding": "gzip"})
    assert styles["Content-Encoding"] == "gzip"
    size = len(b"".join(styles.streaming_content))
    assert size < 100_000
