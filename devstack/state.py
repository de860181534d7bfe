"""What the services of a folder keep between starts: ports, passwords, PostgreSQL's room.

Owns the state file and the choice of ports. Knows nothing of how a service is started. Ports are
chosen once and reused, so that clients find a restarted server at the same address.
"""

import json
import os
import random
import secrets
import socket
import threading
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devstack.endpoints import HOST, STATE_FILE, DevstackError, Endpoints, endpoints_from
from seckill.config import embedded

# Below the range that Linux and macOS use for outgoing connections. Inside that range, a client
# that retries while its server is down could get the server's port, connect to itself, and keep the
# server from coming back.
PORT_RANGE = (20_000, 32_000)
PASSWORDS = ("valkey", "postgres")
PASSWORD_BYTES = 16


@dataclass
class State:
    """The content of the state file. Changes are written at once; only the owner can read it."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    room: str | None = None
    copied: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, folder: Path) -> "State | None":
        """The folder's state; None if the services never ran. Raises DevstackError."""
        path = folder / STATE_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            state = cls(
                folder, dict(document["ports"]), dict(document["passwords"]), document["room"]
            )
            # A copied folder has ports, process ids and room of the original.
            state.copied = document["identity"] != identity(folder)
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise DevstackError(
                f"{path} cannot be read: {wrong.strerror}. The embedded services of this folder "
                "were started by another user: go on as that user, or choose another --folder."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise DevstackError(
                f"{path} is spoilt: without it the passwords of the data are unknown. "
                f"Stop what still runs, remove {folder}, and start again with empty services."
            ) from None
        if state.copied:
            state.ports, state.room = {}, None
        return state

    @classmethod
    def load_or_make(cls, folder: Path) -> "State":
        """The folder's state, or a new one with new passwords if there is none."""
        state = cls.load(folder) or cls(folder)
        for name in PASSWORDS:
            # Hexadecimal, so that URLs, configuration files and SQL need no escaping.
            state.passwords.setdefault(name, secrets.token_hex(PASSWORD_BYTES))
        return state

    def endpoints(self) -> Endpoints | None:
        """The addresses, None before all ports are chosen."""
        try:
            return endpoints_from(self.ports, self.passwords)
        except KeyError:
            return None

    def settle_port(self, name: str, *, fixed: int | None = None) -> int:
        """Choose the port of `name` for a start that follows at once: the last one if it is free.

        Raises DevstackError if `fixed` is taken, or no port is free.
        """
        with self._guard:
            if fixed is not None:
                if not port_is_free(fixed):
                    raise DevstackError(
                        f"port {fixed} of {HOST}, asked for {name}, is taken by another program: "
                        "stop that one, or let a free port be chosen."
                    )
                self.ports[name] = fixed
            elif not port_is_free(self.ports.get(name)):
                others = {port for key, port in self.ports.items() if key != name}
                self.ports[name] = free_port(others)
            self._write()
            return self.ports[name]

    def save(self) -> None:
        """Write the file, in one step: a reader sees the old content or the new."""
        with self._guard:
            self._write()

    def _write(self) -> None:
        document = {
            "identity": identity(self.folder),
            "ports": self.ports,
            "passwords": self.passwords,
            "room": self.room,
        }
        write_private(self.folder / STATE_FILE, json.dumps(document, indent=1))
        endpoints = self.endpoints()
        if endpoints is not None:
            # The only file of this folder that the configuration reads.
            write_private(self.folder / embedded.FILE, json.dumps(asdict(endpoints), indent=1))


def keep_site_key(folder: Path) -> None:
    """Make Django's secret key, where the folder has none yet. Whoever calls it holds the lock."""
    if not embedded.site_key(folder):
        write_private(folder / embedded.KEY_FILE, secrets.token_urlsafe(50))


def keep_door_secrets(folder: Path) -> None:
    """Make what a door of this folder signs with, as `keep_site_key` does. Only guests of
    `make run` and tokens of `create_buyer_token` are signed with it.
    """
    if not embedded.door_secrets(folder):
        made = {
            "ticket_secret": secrets.token_urlsafe(32),
            "buyer_keys": f"devstack:{secrets.token_urlsafe(32)}",
        }
        write_private(folder / embedded.DOOR_FILE, json.dumps(made, indent=1))


def identity(folder: Path) -> str:
    """Differs between a folder and its copies, and stays the same when it is moved."""
    stat = folder.stat()
    return f"{stat.st_dev}:{stat.st_ino}"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def port_is_free(port: int | None) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    if port is None:
        return False
    with socket.socket() as probe:
        # As servers do: connections of the last run in TIME_WAIT must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def free_port(others: Container[int]) -> int:
    """A port of ours that nobody listens on, none of `others`. Raises DevstackError."""
    for _ in range(200):
        port = random.randint(*PORT_RANGE)
        if port not in others and port_is_free(port):
            return port
    raise DevstackError(f"no free port between {PORT_RANGE[0]} and {PORT_RANGE[1]} on {HOST}.")
