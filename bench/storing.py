"""Storing: from the list to PostgreSQL, compared with COPY alone."""

import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from uuid import uuid4

import psycopg

from bench import limits
from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import UNLIMITED, Rig
from seckill.config.sections import LogWorker
from seckill.lane.keys import DEFAULT_LIST
from seckill.log_worker.storage import COPY_RECORDS

GOAL = 110_000


def store(rig: Rig) -> list[Figure]:
    """Store a backlog of records with the log worker; then the same rows with COPY alone."""
    values: dict[str, list[float]] = defaultdict(list)
    busy: Mapping[str, float] = {}
    batch = LogWorker.model_fields["batch_size"].default
    for repeat in range(1, rig.size.repeats + 1):
        rig.say(f"store: repeat {repeat} of {rig.size.repeats}")
        waiting = fill(rig)
        rate, busy = rig.store(waiting)
        rig.audit()
        copied = _copy_alone(rig.server.pg_dsn, batch)
        values["rows stored"].append(rate)
        values["COPY alone"].append(copied)
        values["share of COPY alone"].append(rate / copied)
    return [
        Figure("store", "rows stored", values["rows stored"], "/s", GOAL, busy=busy),
        Figure("store", "COPY alone", values["COPY alone"], "/s"),
        Figure("store", "share of COPY alone", values["share of COPY alone"], "x"),
    ]


def fill(rig: Rig) -> int:
    """Put accepted records into the list of a clean sale. Returns how many."""
    rig.clean(UNLIMITED)
    limits.script_alone(rig.server, rig.bodies(EVEN, rig.size.requests), str(uuid4()))
    return int(rig.client.llen(DEFAULT_LIST))


def _copy_alone(dsn: str, batch: int) -> float:
    """Rows/s of COPY for the stored rows, in PostgreSQL's binary format, into the emptied table.

    As many rows and transactions as the log worker had; the client only sends bytes.
    """
    columns = COPY_RECORDS.partition("(")[2].partition(")")[0]
    with closing(psycopg.connect(dsn, autocommit=True)) as database:
        row = database.execute("SELECT min(id), max(id), count(*) FROM seckill_record").fetchone()
        assert row is not None
        first, last, rows = row
        blocks = []
        for low in range(first, last + 1, batch):
            with database.cursor().copy(
                f"COPY (SELECT {columns} FROM seckill_record WHERE id >= {low}"
                f" AND id < {low + batch} ORDER BY id) TO STDOUT (FORMAT BINARY)"
            ) as out:
                blocks.append(b"".join(bytes(part) for part in out))
        database.execute("TRUNCATE seckill_record")
        database.execute("CHECKPOINT")
        began = time.perf_counter()
        for block in blocks:
            with database.transaction(), database.cursor().copy(COPY_RECORDS) as copy:
                copy.write(block)
        return float(rows / (time.perf_counter() - began))
