"""Ten million orders become the first partition while orders are stored: how long others wait.

    eval "$(.venv/bin/python manage.py devstack env)"
    .venv/bin/python -m tests.helpers.seasons_at_scale --rows 10000000

Makes a database of its own on the server of SECKILL_PG_DSN, fills it with one INSERT, stores
batches as a log worker does while the table is partitioned, exports the partition, prints the
times, and drops the database.
"""

import argparse
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.helpers.orders_at_scale import FILL, SOURCE, database

# Orders of one transaction, and the pause between two: a busy lane, not the most that is possible.
BATCH, PAUSE_S = 1_000, 0.1


@dataclass
class Storing:
    """Stores batches on a thread until it is told to stop. `longest_s` is that of one batch."""

    dsn: str
    batches: int = 0
    longest_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`."""
        from tests.helpers.books import Books, record

        books = Books(self.dsn)
        while not self._stop.wait(PAUSE_S):
            first = self.batches * BATCH
            rows = [record(first + n, source=SOURCE, partition=99) for n in range(BATCH)]
            began = time.monotonic()
            books.store(rows)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.batches += 1
        books.storage.close()

    def stop(self) -> None:
        """The batch in flight is the last one."""
        self._stop.set()


def measure(dsn: str, rows: int) -> None:
    """Print what each step takes."""
    from seckill.postgres.seasons import FIRST, TABLE
    from seckill.seasons.export import export
    from seckill.seasons.partition import partition
    from seckill.seasons.tables import owners_connection

    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(FILL, {"rows": rows, "source": SOURCE})
        server.execute(f"VACUUM ANALYZE {TABLE}")
        server.execute("CHECKPOINT")
    storing = Storing(dsn)
    thread = threading.Thread(target=storing.run)
    thread.start()
    time.sleep(3)
    before_s, storing.longest_s, began = storing.longest_s, 0.0, time.monotonic()

    def say(line: str) -> None:
        print(f"  {time.monotonic() - began:7.1f} s  {line}", flush=True)

    with owners_connection(dsn) as owner:
        done = partition(owner, lambda: (), say)
    say("done")
    longest_s = storing.longest_s
    storing.stop()
    thread.join()
    print(f"{rows:,} rows, load {os.getloadavg()[0]:.0f}: others waited {done.stopped_s:.2f} s")
    print(f"longest batch: {before_s:.2f} s before, {longest_s:.2f} s meanwhile", flush=True)
    with psycopg.connect(dsn) as reader, tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        file = export(reader, TABLE, FIRST, [SOURCE], Path(folder) / "orders.copy.gz")
        size = (Path(folder) / file.file).stat().st_size
        print(f"export: {file.rows:,} rows, {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with database(os.environ["SECKILL_PG_DSN"]) as dsn:
        os.environ["SECKILL_PG_DSN"] = dsn
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seckill_project.settings")
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        measure(dsn, rows)


if __name__ == "__main__":
    main()
