"""The real servers of the search, and how they lose what they had. Knows nothing of the product.

Two Valkeys of its own, since one is to be promoted beside the other; the session's PostgreSQL, in
which a copy of all tables of the sale is kept, and put back. What makes servers safe against a loss
of power is off: nothing here looks at it, and it would take most of the time.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from devstack.endpoints import HOST
from devstack.lock import folder_lock
from devstack.process import process_of
from devstack.stack import Stack, silent
from devstack.state import State
from devstack.valkey import Valkey
from devstack.watch import start_watcher

# What the workers and Django connect as: a password that costs no time, no wait for a lock that
# somebody holds who waits for his next turn.
ROLE = "search"
ROLE_SQL = f"""
SET scram_iterations = 1;
DROP ROLE IF EXISTS {ROLE};
CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{ROLE}';
ALTER ROLE {ROLE} SET lock_timeout = '30ms';
ALTER ROLE {ROLE} SET synchronous_commit = off;
"""
# The user whose rows PostgreSQL refuses, as it refuses a value: 22000 is a data exception.
REFUSED_USER = 13
REFUSE_SQL = f"""
CREATE OR REPLACE FUNCTION search_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an unlucky number' USING ERRCODE = '22000'; END $$;
CREATE OR REPLACE TRIGGER search_refuses BEFORE INSERT ON seckill_record
FOR EACH ROW WHEN (NEW.user_id = {REFUSED_USER}) EXECUTE FUNCTION search_refuses();
"""
COPIES = ("empty", "saved")


@contextmanager
def own_valkeys(folder: Path) -> Iterator[list[str]]:
    """URLs of two Valkeys that end with this process."""
    urls = []
    homes = [folder / name for name in ("first", "second")]
    try:
        for home in homes:
            home.mkdir()
            urls.append(_start_valkey(home))
        yield urls
    finally:
        for home in homes:
            Stack(home).down()


def _start_valkey(home: Path) -> str:
    state, owner = State.load_or_make(home), process_of(os.getpid())
    with folder_lock(home, silent) as lock:
        assert owner is not None
        start_watcher(home, owner, lock)
        [name] = state.valkeys()
        service = Valkey(home, state, name)
        service.ensure(
            silent, lock=lock, wait_s=90, owner=owner, fixed_port=None, cancelled=threading.Event()
        )
    url = f"redis://:{state.passwords['valkey']}@{HOST}:{service.port}/0"
    client = redis.Redis.from_url(url)
    client.config_set("appendonly", "no")
    client.close()
    return url


class Keys:
    """All keys of one Valkey: copied, put back, or gone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = redis.Redis.from_url(url)

    def copy(self) -> dict[bytes, bytes]:
        """All keys as they are now."""
        names = list(self.client.scan_iter(count=1000))
        pipe = self.client.pipeline()
        for name in names:
            pipe.dump(name)
        return dict(zip(names, pipe.execute(), strict=True))

    def put_back(self, copy: dict[bytes, bytes]) -> None:
        """Be as the copy is."""
        pipe = self.client.pipeline()
        pipe.flushall()
        for name, value in copy.items():
            pipe.restore(name, 0, value)
        pipe.execute()

    def names(self) -> list[bytes]:
        """Which keys there are."""
        return sorted(self.client.scan_iter(count=1000))

    def lose(self, name: bytes) -> None:
        """Evict one key."""
        self.client.unlink(name)


@dataclass(frozen=True)
class Row:
    """A stored order line."""

    partition: int
    offset: int
    activity: int
    item: int
    user: int
    quantity: int


class Tables:
    """All tables of the sale in one database: saved, put back, emptied, and a stranger's hand."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self._do("SET lock_timeout = 0")
        found = self._all(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename LIKE 'seckill\\_%' ORDER BY 1"
        )
        self.names = [name for (name,) in found]
        self._sequences = [
            name
            for (name,) in self._all(
                "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
                " AND sequencename LIKE 'seckill\\_%'"
            )
        ]
        self._numbers: dict[str, list[Any]] = {}
        for schema in COPIES:
            self._do(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
            for name in self.names:
                self._do(f"CREATE TABLE {schema}.{name} (LIKE public.{name})")
        self._do(REFUSE_SQL)
        self.save("empty")

    def save(self, schema: str = "saved") -> None:
        """Keep all rows as they are now."""
        self._do("; ".join(
            f"DELETE FROM {schema}.{n}; INSERT INTO {schema}.{n} SELECT * FROM public.{n}"
            for n in self.names
        ))  # fmt: skip
        union = " UNION ALL ".join(
            f"SELECT '{n}', last_value, is_called FROM {n}" for n in self._sequences
        )
        self._numbers[schema] = self._all(union)

    def put_back(self, schema: str = "saved") -> None:
        """Be as it was, with the numbers that sequences had. Open transactions end before."""
        parts = ["BEGIN", "SET LOCAL session_replication_role = replica"]
        for name in self.names:
            parts.append(f"DELETE FROM public.{name}")
            parts.append(f"INSERT INTO public.{name} SELECT * FROM {schema}.{name}")
        for name, last, called in self._numbers[schema]:
            parts.append(f"SELECT setval('{name}', {last}, {called})")
        self._do("; ".join([*parts, "COMMIT"]))

    def clean(self) -> None:
        """What autovacuum does, when nobody uses the tables: temporary ones fill the catalogue."""
        self._do("VACUUM")

    def rows(self) -> list[Row]:
        """All stored order lines."""
        found = self._all(
            'SELECT partition, "offset", activity_id, item_id, user_id, quantity'
            " FROM seckill_record"
        )
        return [Row(*row) for row in found]

    def dead(self) -> list[tuple[str, bytes]]:
        """All dead records: (kind, text)."""
        found = self._all("SELECT kind, raw FROM seckill_deadrecord")
        return [(kind, bytes(raw)) for kind, raw in found]

    def end_leases(self, seconds: float) -> None:
        """So much time goes by for all leases."""
        self.connection.execute(
            "UPDATE seckill_lease SET until = until - %s * interval '1 second'", [seconds]
        )

    def end_transactions(self, pids: list[int]) -> None:
        """End connections, as a restart of the server does."""
        for pid in pids:
            self.connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    def put_sequence_behind(self, behind: int) -> bool:
        """Rows came without the sequence of their numbers. Whether there are any rows."""
        (last,) = self._all("SELECT max(id) FROM seckill_record")[0]
        if last is None:
            return False
        first = max(1, last - behind)
        self._do(f"SELECT setval(pg_get_serial_sequence('seckill_record', 'id'), {first}, false)")
        return True

    def put_sequence_right(self) -> None:
        """What an administrator does about it."""
        self._do(
            "SELECT setval(pg_get_serial_sequence('seckill_record', 'id'),"
            " greatest((SELECT coalesce(max(id), 1) FROM seckill_record),"
            " (SELECT last_value FROM seckill_record_id_seq)))"
        )

    def insert_stranger(self, source: str, row: Row) -> None:
        """Somebody restores a row that is none of ours."""
        self.connection.execute(
            "UPDATE seckill_item SET sold = sold + %s WHERE activity_id = %s AND item_id = %s",
            [row.quantity, row.activity, row.item],
        )
        self.connection.execute(
            "INSERT INTO seckill_record (id, user_id, activity_id, item_id, quantity, cost_ms,"
            ' status, ts, source, partition, "offset", version)'
            " SELECT least(0, min(id)) - 1, %s, %s, %s, %s, 0, 'success', now(), %s, %s, %s, 1"
            " FROM seckill_record",
            [row.user, row.activity, row.item, row.quantity, source, row.partition, row.offset],
        )

    def close(self) -> None:
        """Remove the copies, close the connection."""
        self._do("DROP FUNCTION search_refuses CASCADE")
        for schema in COPIES:
            self._do(f"DROP SCHEMA {schema} CASCADE")
        self.connection.close()

    def _do(self, statements: str) -> None:
        self.connection.execute(statements)

    def _all(self, query: str) -> list[Any]:
        return self.connection.execute(query).fetchall()
