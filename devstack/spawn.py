"""Starts programs: servers that outlive this process, and short steps before them.

Owns the process file: which process runs, on which port, for whom. Knows nothing of what a program
does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devstack.endpoints import DevstackError
from devstack.process import Process
from devstack.state import write_private

# A step such as initdb takes 1 s; slow disks and busy machines a few more.
STEP_LIMIT_S = 180


@dataclass(frozen=True)
class Account:
    """Another user to run a program as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """How a program is run. No secrets here: everybody can read a command line."""

    argv: Sequence[str]
    cwd: Path
    env: dict[str, str]
    account: Account | None = None

    def identity_arguments(self) -> dict[str, Any]:
        """The arguments of subprocess that change the user."""
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


@dataclass(frozen=True)
class Record:
    """The content of a service's process file: process, port, owner.

    When the `owner` process ends, this one ends too. None: it runs until somebody stops it.
    """

    process: Process
    port: int | None = None
    owner: Process | None = None

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """The record of a process file, None without one. Raises DevstackError."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            owner = found["owner"]
            return cls(
                Process(**found["process"]),
                found["port"],
                None if owner is None else Process(**owner),
            )
        except FileNotFoundError:
            return None
        except PermissionError:
            raise DevstackError(f"{path} belongs to another user: go on as that user.") from None
        except (ValueError, KeyError, TypeError):
            raise DevstackError(
                f"{path} is spoilt: stop that server by hand, then remove the file."
            ) from None

    def write(self, path: Path) -> None:
        """Write the process file."""
        write_private(path, json.dumps(asdict(self)))


def clean_environment(home: Path) -> dict[str, str]:
    """An environment that is the same everywhere, without the caller's PG*, JAVA_* or locale."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


def environment_with_devstack() -> dict[str, str]:
    """This process's environment, plus what `python -m devstack...` needs to work anywhere."""
    project = str(Path(__file__).resolve().parent.parent)
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([project, others] if others else [project])
    return {**os.environ, "PYTHONPATH": path}


def start_detached(
    command: Command, log: Path, record: Path, *, port: int | None, owner: Process | None, lock: int
) -> Process:
    """Start a program that outlives this process. Its process file exists when this returns.

    A helper starts the program and exits, so the program is not our child and never a zombie. The
    helper also holds the folder's lock (`lock`). If this process is killed now, no other command
    can use the folder before the process file exists.
    """
    job = {
        "argv": list(command.argv),
        "cwd": str(command.cwd),
        "env": command.env,
        "account": command.identity_arguments(),
        "log": str(log),
        "record": str(record),
        "port": port,
        "owner": None if owner is None else asdict(owner),
    }
    helper = subprocess.run(
        [sys.executable, "-m", "devstack.launch", json.dumps(job)],
        cwd="/",
        env=environment_with_devstack(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        pass_fds=(lock,),
        timeout=STEP_LIMIT_S,
        check=False,
    )
    started = Record.read(record) if helper.returncode == 0 else None
    if started is None:
        reason = (helper.stderr or helper.stdout).strip().splitlines()
        raise DevstackError(
            f"{command.argv[0]} could not be started: {reason[-1] if reason else 'no reason given'}"
        )
    return started.process


def run_step(command: Command, what: str, *, lock: int) -> str:
    """Run a short program to its end and return its output. Raises DevstackError when it fails."""
    try:
        done = subprocess.run(
            list(command.argv),
            cwd=command.cwd,
            env=command.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=(lock,),
            timeout=STEP_LIMIT_S,
            check=False,
            **command.identity_arguments(),
        )
    except subprocess.TimeoutExpired:
        raise DevstackError(f"{what}: not done after {STEP_LIMIT_S} s, given up.") from None
    except OSError as wrong:
        raise DevstackError(f"{what}: {command.argv[0]} cannot be run: {wrong}") from None
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-8:])
        raise DevstackError(f"{what} failed (exit code {done.returncode}):\n  {tail}")
    return done.stdout
