"""Whether a season may be taken away, and what would go with it. Changes nothing.

It may if it is over: its activities are finished and have no orders elsewhere, its lanes read
another topic, and nothing of it waits, for a row, a payment, an event or a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis
from psycopg import sql

from seckill.dead_letters.records import OPEN
from seckill.errors import Refused
from seckill.lane.keys import Lane
from seckill.postgres.distinct import distinct_sql
from seckill.postgres.seasons import Season, read_seasons
from seckill.seasons import lanes
from seckill.seasons.tables import refuse_unless_partitioned

# The end of the name of the empty partition that stands in its place. A longer one would cut the
# names of its constraints.
ARCHIVED = "_end"
# What goes with the orders: {file: table}.
BESIDE = {"settlements": "seckill_settlement", "late_payments": "seckill_latepayment"}
# Its activities, and for each some other topic that has orders of it.
ACTIVITIES = f"""
SELECT a.value, s.lane, s.finished, s.archived_at IS NOT NULL,
    (SELECT r.source::text FROM seckill_record AS r WHERE r.activity_id = a.value
        AND r.source <> ALL (%(sources)s::uuid[]) LIMIT 1)
FROM ({distinct_sql("{season}", "activity_id")}) AS a
LEFT JOIN seckill_activity AS s ON s.id = a.value ORDER BY 1
"""
DEAD = f"""
SELECT count(*) FROM seckill_deadrecord AS d WHERE d.source = ANY(%s::uuid[]) AND {OPEN}
"""
MONEY = """
SELECT count(*) FROM seckill_latepayment
WHERE source = ANY(%s::uuid[]) AND resolved_at IS NULL
"""
MOVES = """
SELECT count(*) FROM seckill_move
WHERE state IN ('planned', 'taken') AND (source = ANY(%s) OR target = ANY(%s))
"""
# A topic of events whose subscribers have not heard of some row of the season.
UNPUBLISHED = """
SELECT c.topic FROM seckill_eventcursor AS c WHERE
    c.record_id < (SELECT max(id) FROM {season})
    OR c.settlement_id < (SELECT max(id) FROM seckill_settlement
        WHERE source = ANY(%(sources)s::uuid[]))
    OR c.late_payment_id < (SELECT max(id) FROM seckill_latepayment
        WHERE source = ANY(%(sources)s::uuid[]))
LIMIT 1
"""
# What some lane may still hold, if an earlier act was cut off.
GONE = "SELECT id, lane FROM seckill_activity WHERE archived_at IS NOT NULL ORDER BY id"


@dataclass(frozen=True)
class Plan:
    """What would be done. `done`: all of it is done in PostgreSQL, and Redis may lack the rest."""

    season: Season
    # {lane: its activities}
    activities: dict[str, list[int]] = field(default_factory=dict)
    # {file: rows}
    rows: dict[str, int] = field(default_factory=dict)
    done: bool = False

    @property
    def numbers(self) -> list[int]:
        """The activities of all lanes."""
        return sorted(number for some in self.activities.values() for number in some)


def make_plan(
    connection: psycopg.Connection,
    clients: Mapping[str, "redis.Redis"],
    reading: Mapping[str, str],
    name: str,
) -> Plan:
    """Check everything. `clients` are of all configured lanes, `reading` the topics by lane.

    Raises Refused with the first reason against it, RedisAway, psycopg.Error.
    """
    refuse_unless_partitioned(connection)
    seasons = {season.name: season for season in read_seasons(connection.cursor())}
    gone = seasons.get(name.removesuffix(ARCHIVED) + ARCHIVED)
    if gone is not None and gone.archived:
        return Plan(gone, _by_lane(connection.execute(GONE).fetchall(), clients), done=True)
    season = seasons.get(name)
    if season is None:
        raise Refused(f"there is no partition {name}; manage.py seasons list shows them")
    for lane, source in reading.items():
        if source in season.sources:
            raise Refused(
                f"lane {lane} reads a topic of it: the lane's next season must have begun, with "
                "another topic; manage.py seasons begin makes its partition"
            )
    activities = _activities(connection, season, clients)
    plan = Plan(season, activities)
    _refuse_if_open(connection, season, plan.numbers)
    for lane, some in activities.items():
        lanes.refuse_if_alive(clients[lane], Lane.named(lane), season.sources, some)
    rows = {"orders": count(connection, season.name, season)}
    rows |= {what: count(connection, table, season) for what, table in BESIDE.items()}
    return Plan(season, activities, rows)


def count(connection: psycopg.Connection, relation: str, season: Season) -> int:
    """How many rows of the season's topics a table has, or a partition."""
    counting = sql.SQL("SELECT count(*) FROM {} WHERE source = ANY(%s::uuid[])")
    return one(connection, counting.format(sql.Identifier(relation)), [list(season.sources)])


def one(connection: psycopg.Connection, query: sql.SQL | sql.Composed, arguments: list[Any]) -> int:
    """The number that a query answers."""
    row = connection.execute(query, arguments).fetchone()
    return int(row[0]) if row else 0


def _activities(
    connection: psycopg.Connection, season: Season, clients: Mapping[str, "redis.Redis"]
) -> dict[str, list[int]]:
    found = connection.execute(
        sql.SQL(ACTIVITIES).format(season=sql.Identifier(season.name)),
        {"sources": list(season.sources)},
    ).fetchall()
    for number, lane, finished, archived, elsewhere in found:
        if lane is None:
            raise Refused(f"activity {number} has orders and no row: PostgreSQL has lost it")
        if not finished or archived:
            raise Refused(f"activity {number} is not finished; manage.py finish ends it")
        if elsewhere is not None:
            raise Refused(
                f"activity {number} has orders of another topic too ({elsewhere}): it goes with "
                "all of its orders or not at all. Keep this season"
            )
        if lane not in clients:
            raise Refused(f"lane {lane} is not in section lanes of config.yaml")
    return _by_lane([row[:2] for row in found], clients)


def _by_lane(rows: list[Any], clients: Mapping[str, "redis.Redis"]) -> dict[str, list[int]]:
    activities: dict[str, list[int]] = {}
    for number, lane in rows:
        if lane in clients:
            activities.setdefault(lane, []).append(number)
    return activities


def _refuse_if_open(connection: psycopg.Connection, season: Season, activities: list[int]) -> None:
    sources = list(season.sources)
    questions: tuple[tuple[str, list[Any], str], ...] = (
        (DEAD, [sources], "{} of its dead records need a person; manage.py dead_letters list"),
        (MONEY, [sources], "{} of its late payments are not paid back"),
        (MOVES, [activities, activities], "{} moves of units are under way"),
    )
    for query, arguments, why in questions:
        number = one(connection, sql.SQL(query), arguments)
        if number:
            raise Refused(why.format(f"{number:,}"))
    unpublished = sql.SQL(UNPUBLISHED).format(season=sql.Identifier(season.name))
    topic = connection.execute(unpublished, {"sources": sources}).fetchone()
    if topic is not None:
        raise Refused(
            f"topic {topic[0]} has not all of its events: let manage.py run_events --drain end"
        )
