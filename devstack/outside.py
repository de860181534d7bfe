"""Rooms outside the project, for a project in a private home: who owns them, when they can go.

Each room has an `owner.json`, so that no project takes another one's room. Only root uses rooms.
About their content it only knows that PostgreSQL works in `data`.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from devstack.endpoints import DevstackError
from devstack.process import processes_working_in
from devstack.spawn import Account
from devstack.state import identity, write_private

# Folders of the system that everybody can enter; the first usable one is taken.
BASES = ("/var/lib", "/var/db", "/var/tmp")
NAME = "seckill-devstack"
# Seconds for a killed process to be gone.
GONE_LIMIT_S = 5


def can_reach(account: Account, folder: Path) -> bool:
    """Whether this user can enter a folder."""
    # Tried for real: ACLs, mounts and containers can override the permission bits.
    try:
        return (
            subprocess.run(
                ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                user=account.uid,
                group=account.gid,
                extra_groups=[],
                check=False,
            ).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False


def make_room(owner: Path, account: Account) -> Path:
    """An empty room for the services' folder `owner`, open to the user. Raises DevstackError."""
    for base in BASES:
        rooms = Path(base) / NAME
        try:
            rooms.mkdir(mode=0o711, exist_ok=True)
            facts = rooms.lstat()
            # In a world-writable folder somebody else may have created it first.
            if facts.st_uid != os.geteuid() or facts.st_mode & 0o022 or rooms.is_symlink():
                continue
            rooms.chmod(0o711)
            if not can_reach(account, rooms):
                continue
            _clear_temporary(rooms)
            room = _free_room(rooms, owner)
            room.mkdir(mode=0o711)
            room.chmod(0o711)
        except OSError:
            continue
        return room
    raise DevstackError(
        f"PostgreSQL never runs as root; user {account.name} cannot reach {owner}, and no room for "
        f"it could be made in {', '.join(BASES)}: put the project where others may go "
        "(chmod o+x its parents), or run as an ordinary user."
    )


def _free_room(rooms: Path, owner: Path) -> Path:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", owner.parent.name).strip("-").lower()[:30] or "project"
    digest = hashlib.sha256(str(owner).encode()).hexdigest()[:10]
    for number in range(1, 100):
        room = rooms / f"{slug}-{digest}{f'-{number}' if number > 1 else ''}"
        if not room.exists():
            return room
        if not _has_living_owner(room, owner):
            # Its services' folder was removed, and the password with it: the data is useless.
            _clear(room)
            return room
    raise DevstackError(f"too many rooms in {rooms}: remove those of projects that are gone.")


def _clear_temporary(rooms: Path) -> None:
    """Remove the rooms of deleted temporary folders, which killed test runs have left.

    Other rooms stay: their project may be on a disk that is not mounted at the moment.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for signature in rooms.glob("*/owner.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            folder = Path(json.loads(signature.read_text(encoding="utf-8"))["folder"])
            if folder.is_relative_to(temporary) and not folder.exists():
                _clear(signature.parent)


def _clear(room: Path) -> None:
    for process in processes_working_in(room / "data", "postgres"):
        process.signal(signal.SIGKILL)
        process.gone_within(GONE_LIMIT_S)
    shutil.rmtree(room)


def _has_living_owner(room: Path, claimant: Path) -> bool:
    try:
        signed = json.loads((room / "owner.json").read_text(encoding="utf-8"))
        folder = Path(signed["folder"])
        return identity(folder) == signed["identity"] != identity(claimant)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def sign(room: Path, owner: Path) -> None:
    """Write the owner's current path to the room: a project may have been moved."""
    signature = {"folder": str(owner), "identity": identity(owner)}
    write_private(room / "owner.json", json.dumps(signature))
