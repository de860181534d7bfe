"""Checks before anything starts. They change nothing but the folder itself.

Every message says what is wrong, what it means, and what to do. This module can be imported on any
system: modules that some systems lack are imported where they are used.
"""

import errno
import os
import platform
import shutil
import tempfile
from pathlib import Path

from devstack.endpoints import DevstackError

SYSTEMS = ("Linux", "Darwin")
MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
# Jars, Kafka's log, Valkey's file, PostgreSQL's WAL (2 GB at most): for a sale or two.
NEED_EMPTY_BYTES = 2_000_000_000
# For a folder that is already set up.
NEED_BYTES = 500_000_000
INSTEAD = (
    "Run everything in containers instead (`docker compose up -d`, see docker-compose.yml), or "
    "name running services in SECKILL_BROKERS, SECKILL_REDIS_URL and SECKILL_PG_DSN."
)


def check_platform() -> None:
    """Raises DevstackError if the wheels have no servers for this machine."""
    system, machine = platform.system(), platform.machine()
    if system not in SYSTEMS or machine.lower() not in MACHINES:
        raise DevstackError(f"there are no embedded services for {system} on {machine}. {INSTEAD}")
    if system == "Linux" and platform.libc_ver()[0] != "glibc":
        raise DevstackError(f"the embedded services need glibc, not another C library. {INSTEAD}")


def check_user() -> None:
    """Raises DevstackError for a user without a name, as with `docker run --user`."""
    import pwd

    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise DevstackError(
            f"user id {os.geteuid()} has no entry in the user database, which PostgreSQL insists "
            f"on: add one (a line in /etc/passwd), or run as another user. {INSTEAD}"
        ) from None


def check_folder(folder: Path) -> None:
    """Create the folder if it is missing. Raises DevstackError if it cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise DevstackError(
                f"{folder} belongs to user {_name(owner)}, this is {_name(os.geteuid())}: go on as "
                "that user, choose another --folder, or remove it there."
            )
        # Others may enter (PostgreSQL's user, if this is root) but not list it.
        folder.chmod(0o711)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
        # Keeps the folder out of every repository, wherever it is put.
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DevstackError(
                f"{folder}: the disk is full: free {_gb(NEED_EMPTY_BYTES)}."
            ) from None
        raise DevstackError(
            f"{folder} cannot be used for the services' data: {wrong.strerror}. "
            "Choose a folder that can be written to with --folder."
        ) from None


def check_disk(folder: Path) -> None:
    """Raises DevstackError if there is too little disk space for a start."""
    need = NEED_BYTES if (folder / "kafka" / "data").is_dir() else NEED_EMPTY_BYTES
    free = shutil.disk_usage(folder).free
    if free < need:
        raise DevstackError(
            f"the disk of {folder} is too full: {_gb(free)} free, {_gb(need)} needed. A server "
            "that runs out of disk in mid-sale stops: free some, or use another disk (--folder)."
        )


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
