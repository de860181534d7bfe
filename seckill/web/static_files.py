"""Static files of the web process: with a hash in each name, so that browsers keep them for a year.

Owns the folder of collected files. It is named after what is in it and is made once: at the first
start after a change, or when the image is built. Where nothing can be written the files are served
from the packages, without hashes: browsers then ask each minute whether they have changed.
"""

import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds after which a folder that no process has started with is removed.
KEPT_S = 7 * 86400


class HashedFiles(ManifestStaticFilesStorage):
    """Names with hashes, in style sheets and in the imports of our modules too."""

    support_js_module_import_aggregation = True


def use_hashed_files(root: Path) -> bool:
    """Collect what is not collected yet below `root`, and serve that. Call it before WSGI starts.

    False: nothing can be written there, and the files are served without hashes.
    """
    folder = root / _fingerprint()
    try:
        if not folder.is_dir():
            _collect(folder)
    except OSError as wrong:
        log.warning("static files are served without hashes: %s", wrong, extra=event("no-hashes"))
        return False
    settings.STATIC_ROOT = str(folder)
    backend = f"{HashedFiles.__module__}.{HashedFiles.__name__}"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    settings.WHITENOISE_USE_FINDERS = False
    return True


def _files() -> Iterator[tuple[str, Any]]:
    """(path, storage) of each file, the first where several packages have one."""
    seen = set()
    for finder in get_finders():
        for path, storage in finder.list(["CVS", ".*", "*~"]):
            if path not in seen:
                seen.add(path)
                yield path, storage


def _fingerprint() -> str:
    """A name for exactly these files."""
    digest = hashlib.sha256()
    for path, storage in sorted(_files(), key=lambda file: file[0]):
        with storage.open(path) as file:
            digest.update(f"{path} ".encode() + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:16]


def _collect(folder: Path) -> None:
    """Make the folder as a whole. Another process may be faster: its files are the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_old(folder.parent)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        made.chmod(0o755)
        storage = HashedFiles(location=str(made), base_url=settings.STATIC_URL)
        paths = {}
        for path, source in _files():
            with source.open(path) as file:
                storage.save(path, file)
            paths[path] = (storage, path)
        for _name, _hashed, problem in storage.post_process(paths):
            if isinstance(problem, Exception):
                raise problem
        if not folder.is_dir():
            made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _forget_old(root: Path) -> None:
    for folder in root.iterdir():
        if time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)
