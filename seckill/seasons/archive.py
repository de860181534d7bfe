"""Takes a season away as a whole: exports its partition, detaches it, and refuses its rows.

Always: everything is checked and exported, and read back, before anything is changed. Then one
transaction does it all in PostgreSQL: activities marked, journal, partition. Redis follows. Cut off
in between, the sale goes on, and the act can be run again: it does the rest.
Never a sum: an activity goes with all of its orders or not at all, so nothing is added up
elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from psycopg.types.json import Jsonb

from seckill.control.acts import ARCHIVE
from seckill.errors import Refused
from seckill.lane.keys import Lane
from seckill.postgres.seasons import ARCHIVED_CHECK, TABLE
from seckill.seasons import lanes
from seckill.seasons.export import Exported, export, write_manifest
from seckill.seasons.plan import ARCHIVED, BESIDE, Plan, count, make_plan, one
from seckill.seasons.tables import Say, create_partition, run, shortly

ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
ITEMS = """
SELECT activity_id, item_id, allocation, sold, returned FROM seckill_item
WHERE activity_id = ANY(%s) ORDER BY 1, 2
"""
LOCK_ACTIVITIES = """
SELECT count(*) FROM (SELECT id FROM seckill_activity WHERE id = ANY(%s) AND finished
    AND archived_at IS NULL ORDER BY id FOR UPDATE) AS locked
"""
MARK = """
UPDATE seckill_activity SET archived_at = clock_timestamp(), archived_in = %s WHERE id = ANY(%s)
"""
JOURNAL = """
INSERT INTO seckill_stockchange (at, actor, act, activity_id, old, new, state, detail, note)
SELECT clock_timestamp(), %s, %s, number, '{}'::jsonb, %s, 'applied', '', %s
FROM unnest(%s::bigint[]) AS number
"""
# Their rows settled them; without these they would ask for a person again.
DISMISS = """
UPDATE seckill_deadrecord SET dismissed_at = clock_timestamp(), dismissed_by = %s,
    note = 'archived with its season'
WHERE source = ANY(%s::uuid[]) AND dismissed_at IS NULL
"""


@dataclass(frozen=True)
class Archived:
    """What was done: the manifest, its files, and how long others waited at the most."""

    manifest: Path
    files: list[Exported]
    stopped_s: float


class Archive:
    """The act. `clients` are of all configured lanes, `reading` the topics by lane.

    The connection is `owners_connection`'s. Raises Refused, RedisAway, PostgresAway, psycopg.Error.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        clients: Mapping[str, "redis.Redis"],
        reading: Mapping[str, str],
        say: Say,
    ) -> None:
        self._connection, self._clients, self._reading = connection, clients, reading
        self._say = say

    def plan(self, name: str) -> Plan:
        """Check everything and change nothing."""
        return make_plan(self._connection, self._clients, self._reading, name)

    def do(self, plan: Plan, folder: Path, actor: str, note: str = "") -> Archived:
        """Export, take away, and end it in Redis. Files that are there are never written over."""
        folder = folder.resolve()
        manifest = folder / f"{plan.season.name}.json"
        if manifest.exists():
            raise Refused(f"{manifest} is there already: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        files = self._export(plan, folder, manifest)
        rows = {file.table: file.rows for file in files}
        self._say("2 of 3: PostgreSQL")
        self._forget_what_is_stored(plan)
        stopped_s = shortly(
            self._connection,
            lambda: self._take_away(plan, rows, str(manifest), actor[:150], note[:500]),
            self._say,
        )
        self.finish(plan)
        return Archived(manifest, files, stopped_s)

    def finish(self, plan: Plan) -> None:
        """End it in Redis. Safe to repeat."""
        self._say("3 of 3: Redis")
        self._forget_what_is_stored(plan)
        for lane, some in plan.activities.items():
            lanes.end(self._clients[lane], Lane.named(lane), plan.season.sources, some)

    def _forget_what_is_stored(self, plan: Plan) -> None:
        for lane in plan.activities:
            lanes.forget_what_is_stored(self._clients[lane], Lane.named(lane), plan.season.sources)

    def _export(self, plan: Plan, folder: Path, manifest: Path) -> list[Exported]:
        season, sources = plan.season, list(plan.season.sources)
        files = []
        with self._connection.transaction():
            self._connection.execute(ONE_MOMENT)
            for what, table in {"orders": TABLE, **BESIDE}.items():
                relation = season.name if table == TABLE else table
                self._say(f"1 of 3: {plan.rows[what]:,} {what} into {folder}")
                path = folder / f"{season.name}.{what}.copy.gz"
                files.append(export(self._connection, table, relation, sources, path))
            items = self._connection.execute(ITEMS, (plan.numbers,)).fetchall()
        names = ("activity", "item", "allocation", "sold", "returned")
        write_manifest(
            manifest,
            files,
            season=season.name,
            sources=sources,
            activities=plan.activities,
            items=[dict(zip(names, item, strict=True)) for item in items],
        )
        return files

    def _take_away(
        self, plan: Plan, rows: Mapping[str, int], manifest: str, actor: str, note: str
    ) -> None:
        """The transaction. Only its last steps make others wait."""
        connection, season = self._connection, plan.season
        sources, numbers = list(season.sources), plan.numbers
        if one(connection, sql.SQL(LOCK_ACTIVITIES), [numbers]) != len(numbers):
            raise Refused("somebody has changed one of its activities meanwhile: look again")
        run(connection, "LOCK TABLE {season} IN SHARE MODE", season=sql.Identifier(season.name))
        there = {TABLE: count(connection, season.name, season)}
        for table in BESIDE.values():
            deleting = sql.SQL("DELETE FROM {} WHERE source = ANY(%s::uuid[])")
            deleted = connection.execute(deleting.format(sql.Identifier(table)), (sources,))
            there[table] = deleted.rowcount
        if there != dict(rows):
            raise Refused("rows of it came while it was exported: try again, with another folder")
        connection.execute(DISMISS, (actor, sources))
        connection.execute(MARK, (manifest, numbers))
        told = Jsonb({"file": manifest, "season": season.name, "orders": rows[TABLE]})
        connection.execute(JOURNAL, (actor, ARCHIVE, told, note, numbers))
        run(
            connection,
            "ALTER TABLE {table} DETACH PARTITION {season}",
            table=sql.Identifier(TABLE),
            season=sql.Identifier(season.name),
        )
        empty = season.name + ARCHIVED
        create_partition(connection, empty, sources)
        run(
            connection,
            "ALTER TABLE {empty} ADD CONSTRAINT {check} CHECK (false)",
            empty=sql.Identifier(empty),
            check=sql.Identifier(ARCHIVED_CHECK),
        )
