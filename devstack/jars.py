"""Kafka's jars: exactly the ones in the lock file, checked by sha256, kept in the user's cache.

Owns `kafka.lock.toml`. Versions are only chosen when `python -m devstack.jars` resolves the
coordinates again and writes that file. jgo resolves and downloads.
"""

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.endpoints import DevstackError

if TYPE_CHECKING:
    from jgo.env import LockFile
    from jgo.maven import Artifact, MavenContext

KAFKA_VERSION = "4.3.1"
# kafka-clients is listed because otherwise an old version is chosen and the broker dies.
# slf4j-simple is the log binding that needs no configuration file; its version must match Kafka's
# slf4j-api.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)
LOCK_FILE = Path(__file__).with_name("kafka.lock.toml")
DOWNLOADS_AT_ONCE = 6
# A download without data for so many seconds is tried again, so many times in total.
STALL_S = 20
TRIES = 3


def kafka_jars(
    fallback: Path, say: Callable[[str], None], cancelled: threading.Event
) -> list[Path]:
    """All jars of the class path, verified. Missing ones are downloaded once.

    They are in the user's cache, or below `fallback` if the user has none. Raises DevstackError.
    """
    try:
        from jgo.env import LockFile
    except ImportError as missing:
        raise DevstackError(f"{missing}: run `make setup` to install the dependencies.") from None
    lock = LockFile.load(LOCK_FILE)
    cache = _cache_folder(fallback)
    found = _verified(lock, cache)
    if len(found) == len(lock.dependencies):
        return found
    with _alone(cache):
        # Another copy of the project may have fetched them while this one waited.
        wanted = len(lock.dependencies) - len(_verified(lock, cache))
        if wanted:
            say(f"kafka: fetching {wanted} jars (45 MB in all, first time only)")
            began = time.monotonic()
            try:
                _fetch(lock, cache, cancelled)
            except (RuntimeError, OSError) as wrong:  # requests' errors are OSErrors
                raise DevstackError(_unfetched(wrong)) from None
            say(f"kafka: jars fetched in {time.monotonic() - began:.1f} s")
    found = _verified(lock, cache)
    if len(found) != len(lock.dependencies):
        raise DevstackError(
            f"Kafka's jars in {cache} are not those of {LOCK_FILE.name}: what the repository sends "
            "has another sha256. Do not go on; look at what the mirror or proxy does to them."
        )
    return found


def write_lock() -> None:
    """Resolve COORDINATES with all that they need, and write the lock file."""
    from jgo.env import LockFile

    with tempfile.TemporaryDirectory() as folder:
        context = _context(Path(folder))
        named = [context.create_dependency(coordinate) for coordinate in COORDINATES]
        inputs, others = context.resolver.resolve(named)
        needed = inputs + [each for each in others if each.scope in ("compile", "runtime")]
        lock = LockFile.from_resolved_dependencies(needed, environment_name="kafka")
        # Sorted, so that the file depends only on the versions.
        lock.dependencies.sort(key=lambda each: (each.groupId, each.artifactId))
        lock.save(LOCK_FILE)


def _unfetched(wrong: Exception) -> str:
    """Why there are no jars, and what to do. The library tells it in five lines."""
    import requests

    lost = isinstance(wrong, requests.ConnectionError | requests.Timeout)
    # The system's own words, or the first line.
    words = re.search(r"\[Errno -?\d+\] [^'\")]+", str(wrong))
    reason = words[0] if words else (str(wrong).strip().splitlines() or [type(wrong).__name__])[0]
    return (
        f"{'no network or no proxy: ' if lost else ''}Kafka's jars could not be fetched "
        f"({reason[:160]}). The first start needs Maven's registry; later ones do not. Behind a "
        "proxy set HTTPS_PROXY; behind a mirror name it as `central` under [repositories] in "
        "~/.config/jgo.conf."
    )


def _context(cache: Path) -> "MavenContext":
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    return MavenContext(repo_cache=cache, remote_repos=repositories, timeout=STALL_S)


def _artifacts(lock: "LockFile", cache: Path) -> "list[tuple[Artifact, str]]":
    context = _context(cache)
    return [
        (
            context.project(each.groupId, each.artifactId)
            .at_version(each.version)
            .artifact(each.classifier or "", each.packaging),
            each.sha256 or "",
        )
        for each in lock.dependencies
    ]


def _verified(lock: "LockFile", cache: Path) -> list[Path]:
    from jgo.env._lockfile import compute_sha256

    return [
        path
        for artifact, sha256 in _artifacts(lock, cache)
        if (path := artifact.cached_path) and path.is_file() and compute_sha256(path) == sha256
    ]


def _fetch(lock: "LockFile", cache: Path, cancelled: threading.Event) -> None:
    good = set(_verified(lock, cache))
    # jgo logs HTTP details. The user learns about problems from the error, if there is one.
    logging.getLogger("jgo").setLevel(logging.ERROR)

    def fetch(artifact: "Artifact") -> None:
        for attempt in range(1, TRIES + 1):
            if cancelled.is_set():
                raise DevstackError("kafka: the start was called off while fetching its jars.")
            # The file is incomplete or wrong, but jgo would accept any file that exists.
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            try:
                artifact.resolve()
            except OSError:
                if attempt == TRIES:
                    raise
            else:
                return

    wanted = [each for each, _ in _artifacts(lock, cache) if each.cached_path not in good]
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        list(pool.map(fetch, wanted))


def _cache_folder(fallback: Path) -> Path:
    """The user's cache, shared by all copies of the project; `fallback` if there is none."""
    with contextlib.suppress(OSError, RuntimeError):
        home = Path.home()
        # With sudo the home may still be the caller's: leave no files of root there.
        if home.stat().st_uid == os.geteuid() and os.access(home, os.W_OK):
            base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
            cache = base / "seckill-devstack" / "maven"
            cache.mkdir(parents=True, exist_ok=True)
            if os.access(cache, os.W_OK):
                return cache
    fallback.mkdir(parents=True, exist_ok=True)
    return fallback


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    write_lock()
