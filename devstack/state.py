"""What the services of a folder keep between starts: kind, ports, passwords, PostgreSQL's room.

Owns the state file and the choice of ports. Knows nothing of how a service is started. Ports are
chosen once and reused, so that clients find a restarted server at the same address.
"""

import base64
import json
import os
import random
import secrets
import socket
import threading
import uuid
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.endpoints import (
    ALL,
    HOST,
    PG_NAME,
    SASL_MECHANISM,
    SECRETS_FOLDER,
    STATE_FILE,
    DevstackError,
    Endpoints,
)
from seckill.config import embedded
from seckill.config.rights import COMMANDS, KAFKA, OWNER, POSTGRES, REDIS, Users

# Below the range that Linux and macOS use for outgoing connections. Inside that range, a client
# that retries while its server is down could get the server's port, connect to itself, and keep the
# server from coming back.
PORT_RANGE = (20_000, 32_000)
PASSWORDS = ("valkey", "postgres")
PASSWORD_BYTES = 16
# {service: its users in a secured folder}. Their passwords are kept as `service-user`.
USERS = {"kafka": (*KAFKA, ALL), "valkey": tuple(REDIS), "postgres": (*POSTGRES, OWNER)}
# Whose rights somebody has who names no command.
ANYBODY = Users(ALL, "seckill", "seckill_app")


@dataclass
class State:
    """The content of the state file. Changes are written at once; only the owner can read it."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    room: str | None = None
    # With passwords and rights everywhere, and TLS where the server has it.
    secured: bool = False
    # Nodes of Kafka, and the id that they share.
    brokers: int = 1
    cluster: str = ""
    # Masters of a Valkey cluster, and replicas of each; 0 masters: one server, no cluster.
    masters: int = 0
    replicas: int = 0
    copied: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, folder: Path) -> "State | None":
        """The folder's state; None if the services never ran. Raises DevstackError."""
        path = folder / STATE_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            state = cls(
                folder,
                dict(document["ports"]),
                dict(document["passwords"]),
                document["room"],
                bool(document.get("secured", False)),
                int(document.get("brokers", 1)),
                str(document.get("cluster", "")),
                int(document.get("masters", 0)),
                int(document.get("replicas", 0)),
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
    def load_or_make(
        cls,
        folder: Path,
        *,
        secured: bool = False,
        brokers: int = 0,
        masters: int = 0,
        replicas: int = 0,
    ) -> "State":
        """The folder's state, or a new one with new passwords if there is none.

        Raises DevstackError if the folder was made otherwise: its data does not fit.
        """
        state = cls.load(folder)
        if state is None:
            if replicas and not masters:
                raise DevstackError("replicas are those of a cluster: --valkey-cluster 3 as well.")
            kind: dict[str, Any] = {"masters": masters, "replicas": replicas}
            state = cls(folder, secured=secured, brokers=brokers or 1, **kind)
        if (
            (secured and not state.secured)
            or brokers not in (0, state.brokers)
            or masters not in (0, state.masters)
            or replicas not in (0, state.replicas)
        ):
            raise DevstackError(
                f"the services of {folder} were made {state.kind()}, and "
                "their data stays so: `devstack down --remove-data` first, or another --folder."
            )
        state.cluster = state.cluster or (
            base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        )
        users = [f"{s}-{u}" for s, of_it in USERS.items() for u in of_it] if state.secured else []
        for name in (*PASSWORDS, *users):
            # Hexadecimal, so that URLs, configuration files and SQL need no escaping.
            state.passwords.setdefault(name, secrets.token_hex(PASSWORD_BYTES))
        return state

    def kind(self) -> str:
        """How the folder was made, in words."""
        valkey = (
            f"a Valkey cluster of {self.masters} masters with {self.replicas} replica(s) each"
            if self.masters
            else "one Valkey"
        )
        secured = "secured" if self.secured else "not secured"
        return f"{secured}, with {self.brokers} broker(s) and {valkey}"

    def valkeys(self) -> tuple[str, ...]:
        """The names of Valkey's servers: the masters, and then the replicas in the same order."""
        return nodes_of("valkey", max(1, self.masters) * (1 + self.replicas))

    def users_of(self, service: str) -> dict[str, str]:
        """{user: password} of a service in a secured folder."""
        return {user: self.passwords[f"{service}-{user}"] for user in USERS[service]}

    def endpoints(self, command: str | None = None) -> Endpoints | None:
        """The addresses, None before all ports are chosen.

        In a secured folder with the users of one command (`COMMANDS`), or those for everything.
        """
        nodes = [self.ports.get(name) for name in nodes_of("kafka", self.brokers)]
        valkeys = [self.ports.get(name) for name in self.valkeys()]
        postgres = self.ports.get("postgres")
        if None in (*nodes, *valkeys, postgres):
            return None
        brokers, redis = (
            ",".join(f"{HOST}:{port}" for port in ports) for ports in (nodes, valkeys)
        )
        scheme = "redis+cluster" if self.masters else "redis"
        # A cluster has no databases.
        redis, database = redis + ("" if self.masters else "/0"), f"{HOST}:{postgres}/{PG_NAME}"
        if not self.secured:
            dsn = f"postgresql://{PG_NAME}:{self.passwords['postgres']}@{database}"
            url = f"{scheme}://:{self.passwords['valkey']}@{redis}"
            return Endpoints(brokers, url, dsn, dsn)
        users = COMMANDS.get(command, COMMANDS["run_control_api"]) if command else ANYBODY
        valkey_user, role = users.redis or "seckill", users.postgres or "seckill_app"
        kafka = users.kafka or ALL
        passwords = {service: self.users_of(service) for service in USERS}

        def dsn_of(role: str) -> str:
            return f"postgresql://{role}:{passwords['postgres'][role]}@{database}"

        return Endpoints(
            brokers,
            f"{scheme}://{valkey_user}:{passwords['valkey'][valkey_user]}@{redis}",
            dsn_of(role),
            dsn_of(OWNER),
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": SASL_MECHANISM,
                "sasl_username": kafka,
                "sasl_password": passwords["kafka"][kafka],
                "ssl_cafile": str(self.folder / "certificates" / "ca.pem"),
            },
        )

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
            "secured": self.secured,
            "brokers": self.brokers,
            "cluster": self.cluster,
            "masters": self.masters,
            "replicas": self.replicas,
        }
        write_private(self.folder / STATE_FILE, json.dumps(document, indent=1))
        endpoints = self.endpoints()
        if endpoints is not None:
            # The only file of this folder that the configuration reads.
            write_private(
                self.folder / embedded.FILE, json.dumps(endpoints.as_settings(), indent=1)
            )


def nodes_of(service: str, count: int) -> tuple[str, ...]:
    """The names of so many servers of one kind."""
    return (service, *(f"{service}-{node}" for node in range(2, count + 1)))


def read_endpoints(folder: Path, command: str | None = None) -> Endpoints | None:
    """The last addresses of `folder`'s services; None if there are none.

    None also if the file belongs to another user or is damaged. `devstack status` gives the reason.
    """
    try:
        state = State.load(folder)
    except DevstackError:
        return None
    return None if state is None else state.endpoints(command)


def keep_secret_files(state: State) -> None:
    """One file for each user's password, for variables that name a file (`devstack env`)."""
    (state.folder / SECRETS_FOLDER).mkdir(mode=0o700, exist_ok=True)
    for service in USERS:
        for user, password in state.users_of(service).items():
            write_private(state.folder / SECRETS_FOLDER / f"{service}-{user}", password)


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
