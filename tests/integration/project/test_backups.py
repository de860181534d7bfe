"""docs/runbooks/backup.md: its commands bring a sale back, as they stand there.

The services, and the order of the tests, are this module's own. `systemctl` is played by the
embedded services; all other programs are the real ones.
"""

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack.room import known_room
from devstack.stack import Stack
from devstack.state import State
from seckill.config.layers import BASE_DIR
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.helpers.pair import programs_of_the_wheel
from tests.helpers.shown_commands import Shell, blocks, script, section

PAGE = (BASE_DIR / "docs/runbooks/backup.md").read_text(encoding="utf-8")
AFTER = (BASE_DIR / "docs/runbooks/after.md").read_text(encoding="utf-8")
BEFORE = (BASE_DIR / "docs/runbooks/before.md").read_text(encoding="utf-8")
README = (BASE_DIR / "README.md").read_text(encoding="utf-8")
# Ten requests by ten users.
(SEND,) = [b for b in blocks(section(README, "Your first sale")) if b.startswith("python")]
# Called with the repository, the services' folder, and what systemctl is called with.
SYSTEMCTL = """
import sys, pathlib
_, base, folder, act, unit = sys.argv
sys.path.insert(0, base)
from devstack.stack import Stack
names = {"postgresql": "postgres", "valkey": "valkey"}
getattr(Stack(pathlib.Path(folder)), act)(names[unit])
"""


class Kept:
    """A sale on services of its own, and a shell beside it."""

    def __init__(self, folder: Path) -> None:
        self.services = folder / "the services"
        self.shell = Shell(folder, SECKILL_DEVSTACK=str(self.services))
        self.sold = 0

    def open(self) -> None:
        """Services, tables, stock, and what the page's commands want to know."""
        self.must("manage.py devstack up && manage.py migrate")
        self.shell.keep(self.must("manage.py devstack env"))
        state = State.load(self.services)
        assert state is not None
        room = known_room(self.services / "postgres", state)
        wheel = programs_of_the_wheel()
        programs = self.shell.place.parent / "programs"
        python = str(BASE_DIR / ".venv/bin/python")
        run = shlex.join([python, "-c", SYSTEMCTL, str(BASE_DIR), str(self.services)])
        (programs / "systemctl").write_text(f'#!/bin/sh\nexec {run} "$@"\n')
        (programs / "systemctl").chmod(0o755)
        redis = urlsplit(self.shell.environment["SECKILL_REDIS_URL"])
        self.shell.environment |= {
            # Those of the server's version.
            "PATH": f"{programs}:{wheel}:{BASE_DIR / '.venv/bin'}:{os.environ['PATH']}",
            "PGDATA": str(room / "data"),
            "REDISCLI_AUTH": str(redis.password),
            "REDIS_PORT": str(redis.port),
            "REDIS_DATA": str(self.services / "valkey/data"),
        }
        self.must("manage.py set_stock 1001:1000 && manage.py run_consumer --drain")

    def must(self, script: str) -> str:
        """A script that ends well."""
        code, said = self.shell.run(script)
        assert code == 0, f"{script}\n{said}"
        return said

    def decide(self) -> None:
        """Ten more are sold; their records wait in Redis."""
        self.must(f"{SEND}\nmanage.py run_consumer --drain")
        self.sold += 10

    def sell(self) -> None:
        """Ten more are sold and stored."""
        self.decide()
        self.must("manage.py run_log_worker --drain")

    def proved(self) -> None:
        """Nothing is lost, and nothing sold twice."""
        self.must("manage.py run_consumer --drain && manage.py run_log_worker --drain")
        self.must("manage.py audit --kafka")
        assert self.rows() == self.sold

    def rows(self) -> int:
        """Stored records."""
        with psycopg.connect(self.shell.environment["SECKILL_PG_DSN"]) as connection:
            row = connection.execute("SELECT count(*) FROM seckill_record").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One sale, whose services are lost one after the other."""
    folder = tmp_path_factory.mktemp("kept")
    kept = Kept(folder)
    try:
        kept.open()
        yield kept
    finally:
        Stack(kept.services).remove()


def test_a_dump_comes_back_and_the_topic_has_the_rest(kept: Kept) -> None:
    kept.sell()
    kept.must(script(PAGE, "Take a dump"))
    kept.sell()
    restored, *rest = script(PAGE, "Restore a dump").splitlines()
    kept.must(restored)
    assert kept.rows() == kept.sold - 10
    code, said = kept.shell.run("manage.py audit")
    assert code == 1, said
    kept.must("\n".join(rest))
    kept.proved()


def test_orders_are_exported_and_weighed(kept: Kept) -> None:
    """What docs/runbooks/after.md and before.md ask psql for."""
    kept.must(script(AFTER, "Export"))
    exported = (kept.shell.place / "orders.csv").read_text(encoding="utf-8").splitlines()
    assert len(exported) == 1 + kept.rows()
    (weigh,) = [line for line in script(BEFORE, "Sizing").splitlines() if line[:4] == "psql"]
    kept.must(weigh)


def test_point_in_time_loses_nothing(kept: Kept) -> None:
    archive, base = re.split(r"(?<=&)\n", script(PAGE, "Take a base copy and the log"))
    receiver = kept.shell.start(archive.replace("pg_receivewal", "exec pg_receivewal").rstrip("&"))
    try:
        kept.must(base)
        kept.sell()
        wait_until(lambda: _received(kept), 30, "the log has arrived")
        stop, *rest = script(PAGE, "Restore to the end of the log").splitlines()
        kept.must(stop)
    finally:
        receiver.send_signal(signal.SIGINT)
        receiver.communicate(timeout=60)
    kept.must("\n".join(rest))
    kept.proved()


@pytest.mark.skipif(not shutil.which("redis-cli"), reason="apt-get install redis-tools")
def test_append_only_files_of_before_come_back(kept: Kept) -> None:
    kept.decide()
    kept.must(script(PAGE, "Copy the append-only files"))
    kept.must("manage.py run_log_worker --drain")
    kept.sell()
    *restored, plan, apply, audit = script(PAGE, "Restore the append-only files").splitlines()
    kept.must("\n".join(restored))
    with kept.shell.start("exec manage.py run_consumer") as process:
        consumer = Command(process)
        try:
            consumer.wait_for("REWOUND|FENCED", 60)
            stop(consumer)
        finally:
            consumer.close()
    kept.must("\n".join((plan, apply, audit)))
    kept.proved()


def test_an_empty_redis_is_rebuilt(kept: Kept) -> None:
    kept.sell()
    kept.must("systemctl stop valkey")
    shutil.rmtree(kept.services / "valkey/data/appendonlydir")
    kept.must("systemctl start valkey")
    kept.must(script(PAGE, "Without a copy"))
    kept.proved()


def test_a_topic_that_is_made_again_is_a_new_source(kept: Kept) -> None:
    kept.sell()
    kept.must(script(PAGE, "A topic that is lost or older"))
    kept.sell()
    kept.must("manage.py audit")
    assert kept.rows() == kept.sold


def _received(kept: Kept) -> bool:
    query = "SELECT bool_or(flush_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
    with psycopg.connect(kept.shell.environment["SECKILL_PG_DSN"]) as connection:
        row = connection.execute(query).fetchone()
    return bool(row and row[0])
