"""Whether Redis and PostgreSQL are fit for a sale. A worker checks this once, when it starts.

Owns the list of what the promises need from the services: versions, policies, rights, encodings.
Each problem is one sentence that says what to do. A service is unfit if it would break a promise or
stop the sale midway. What only weakens a promise is reported as a note, and the worker starts.
"""

import re
from collections.abc import Callable
from typing import Any, LiteralString

import msgspec
import psycopg
import redis

from seckill.config.rights import redis_commands
from seckill.lane.client import redis_errors, run_script
from seckill.lane.keys import CONTROL_CHANNEL, Lane, rate_bucket
from seckill.postgres.access import connect, limit, postgres_errors

# The oldest versions that have what the scripts need: script flags, and the ACL check (DRYRUN).
REDIS_SINCE, VALKEY_SINCE, POSTGRES_SINCE = (7, 0), (7, 2), 14
# Seconds to wait for an answer of PostgreSQL.
ANSWER_S = 10
# {table: what the workers and the acts do with it}
TABLES = {
    "seckill_record": ("SELECT", "INSERT"),
    "seckill_item": ("SELECT", "INSERT", "UPDATE"),
    "seckill_activity": ("SELECT", "INSERT", "UPDATE"),
    "seckill_stockchange": ("SELECT", "INSERT", "UPDATE"),
    "seckill_lane": ("SELECT", "INSERT", "UPDATE"),
    "seckill_move": ("SELECT", "INSERT", "UPDATE"),
    "seckill_lease": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "seckill_deadrecord": ("SELECT", "INSERT", "UPDATE"),
    "seckill_settlement": ("SELECT", "INSERT"),
    "seckill_latepayment": ("SELECT", "INSERT", "UPDATE"),
}
# Tables whose ids a sequence draws.
DRAWN = ("record", "item", "stockchange", "move", "deadrecord", "settlement", "latepayment")
SEQUENCES = tuple(f"seckill_{name}_id_seq" for name in DRAWN)
MISSING_RIGHTS = """
SELECT format('%%s on table %%s', r.verb, r.name)
FROM unnest(%s::text[], %s::text[]) AS r(name, verb)
WHERE to_regclass(r.name) IS NOT NULL AND NOT has_table_privilege(r.name, r.verb)
UNION ALL
SELECT format('USAGE on sequence %%s', s.name) FROM unnest(%s::text[]) AS s(name)
WHERE to_regclass(s.name) IS NOT NULL AND NOT has_sequence_privilege(s.name, 'USAGE')
UNION ALL
SELECT 'TEMPORARY on this database'
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
"""


# What a session begins with, in ms: this transaction has a limit of its own.
STATEMENT_TIMEOUT = "SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'"
# The shortest limit of the role's own that is fit. What takes long has none: `sold.stage`.
SHORTEST_MS = 1000


class Unfit(Exception):
    """A service answers but is not fit for a sale. The message says why and what to do."""


def check_redis(
    client: "redis.Redis", lane: Lane, say: Callable[[str], None], user: str = "seckill"
) -> None:
    """Raises Unfit, RedisAway. Calls `say` with each thing that weakens a promise.

    `user` of the table of rights is whose rights this process needs.
    """
    with redis_errors():
        server: dict[str, Any] = client.info("server")
        memory: dict[str, Any] = client.info("memory")
        replication: dict[str, Any] = client.info("replication")
    _check_version(server)
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise Unfit(
            f"Redis's maxmemory-policy is {policy}: a full Redis evicts keys, so buyers are "
            "forgotten and units are sold twice. Set maxmemory-policy noeviction in its "
            "configuration"
        )
    if replication.get("role") == "slave":
        raise Unfit(
            "this Redis is a replica: it accepts no writes. Set SECKILL_REDIS_URL to the master"
        )
    missing = missing_rights(client, lane, user)
    if missing:
        raise Unfit(
            f"this user of Redis lacks rights: {', '.join(missing)}. docs/security.md has the ACL "
            f"line of user {user}"
        )
    for weakness in _weaknesses(client, int(replication.get("connected_slaves", 0))):
        say(f"note: {weakness}")


def missing_rights(client: "redis.Redis", lane: Lane, user: str = "seckill") -> list[str]:
    """Commands that such a user needs and the one of this connection lacks. Raises RedisAway."""
    own = redis_commands(user)
    needs = [need for need in _needs(lane) if need[0] in own]
    found = run_script(client, "check_rights", [], [msgspec.msgpack.encode(needs)])
    names = [f"{needs[place - 1][0]} ({needs[place - 1][1]})" for place in found]
    channel = ["PUBLISH", CONTROL_CHANNEL, "x"]
    # A user without PUBLISH can still sell. The acts report it and continue.
    return [name for name in names if not name.startswith(channel[0])]


def _needs(lane: Lane) -> list[list[str]]:
    keys = lane.activity(1)
    board = lane.board("source", 0, 0)
    hashes = [lane.positions, lane.stats, lane.state, lane.stored, lane.audit, lane.workers]
    hashes += [keys.state, keys.stock, keys.loaded, keys.stats, keys.buyers, keys.new_buyers]
    hashes += [keys.clicks, keys.new_clicks, keys.held, keys.new_held]
    hashes += [lane.settle_positions, lane.settle_stats, lane.settle_read]
    needs = [[c, key, "f", "v"] for key in hashes for c in ("HSET",)]
    needs += [[c, key, "f"] for key in hashes for c in ("HGET", "HMGET", "HDEL", "HEXISTS")]
    needs += [[c, key] for key in hashes for c in ("HGETALL", "HVALS", "HLEN", "EXISTS", "UNLINK")]
    needs += [["RENAME", keys.new_buyers, keys.buyers], ["RENAME", keys.new_clicks, keys.clicks]]
    needs += [["SADD", lane.activities, "1"], ["SISMEMBER", lane.activities, "1"]]
    needs += [["SMEMBERS", lane.activities], ["LPUSH", lane.list, "v"], ["LLEN", lane.list]]
    needs += [["LRANGE", lane.list, "0", "1"], ["LINDEX", lane.list, "0"]]
    needs += [["LTRIM", lane.list, "0", "1"], ["LRANGE", lane.dead, "0", "1"], ["DEL", lane.dead]]
    needs += [["SETRANGE", board, "0", "v"], ["STRLEN", board], ["GET", board], ["SET", board, "v"]]
    needs += [["GETRANGE", board, "0", "0"], ["ZADD", keys.due, "1", "v"], ["ZREM", keys.due, "v"]]
    needs += [["ZCARD", keys.due], ["ZCOUNT", keys.due, "0", "1"], ["ZRANGE", keys.due, "0", "0"]]
    needs += [["ZRANGEBYSCORE", keys.due, "0", "1"], ["ZADD", keys.new_due, "1", "v"]]
    needs += [["ZMSCORE", keys.due, "v"], ["HSCAN", keys.held, "0"]]
    needs += [["RENAME", keys.new_held, keys.held], ["RENAME", keys.new_due, keys.due]]
    needs += [["ZADD", lane.series, "1", "v"], ["ZRANGE", lane.series, "0", "1"]]
    needs += [["ZREM", lane.series, "v"], ["ZREMRANGEBYRANK", lane.series, "0", "1"]]
    needs += [["ZRANGEBYSCORE", lane.series, "0", "1"], ["ZADD", lane.beats, "1", "v"]]
    needs += [["ZREMRANGEBYSCORE", lane.series, "0", "1"], ["ZREM", lane.beats, "v"]]
    needs += [["ZRANGEBYSCORE", lane.beats, "0", "1"], ["ZRANGE", lane.beats, "0", "1"]]
    bucket = rate_bucket("x")
    needs += [["GET", bucket], ["SET", bucket, "v"]]
    return [*needs, ["TIME", ""], ["INFO", "server"], ["MULTI", ""], ["EXEC", ""]]


def _check_version(server: dict[str, Any]) -> None:
    valkey = "valkey_version" in server
    name, oldest = ("Valkey", VALKEY_SINCE) if valkey else ("Redis", REDIS_SINCE)
    text = str(server["valkey_version" if valkey else "redis_version"])
    found = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if found < oldest:
        raise Unfit(
            f"{name} {text} is too old for the scripts: they need {name} {oldest[0]}.{oldest[1]} "
            "or later"
        )


def _weaknesses(client: "redis.Redis", replicas: int) -> list[str]:
    """What weakens a promise, one sentence each."""
    told = []
    try:
        found: dict[str, str] = client.config_get("append*", "min-replicas-*")  # type: ignore[assignment]
    except redis.ResponseError:
        return [
            "this user of Redis may not read its configuration: it is unknown whether Redis writes "
            "each decision to disk (appendfsync always)"
        ]
    with redis_errors():
        if found.get("appendonly") != "yes":
            told.append(
                "Redis keeps no append-only file: a restart loses decisions, and the lane stays "
                "fenced until manage.py recover. Set appendonly yes"
            )
        elif found.get("appendfsync") != "always":
            told.append(
                f"Redis's appendfsync is {found.get('appendfsync')}: a crash of its machine may "
                "lose the last second of decisions. Set appendfsync always"
            )
        if replicas and found.get("min-replicas-to-write", "0") == "0":
            told.append(
                "Redis has replicas and min-replicas-to-write is 0: a master that is cut off keeps "
                "deciding, and its successor does not know. Set min-replicas-to-write 1"
            )
    return told


def check_postgres(dsn: str, say: Callable[[str], None]) -> None:
    """Raises Unfit, PostgresAway. Calls `say` with each thing that weakens a promise."""
    rights = [(table, verb) for table, verbs in TABLES.items() for verb in verbs]
    asked = ([table for table, _ in rights], [verb for _, verb in rights], list(SEQUENCES))
    with (
        postgres_errors(),
        connect(dsn, ANSWER_S, ANSWER_S) as connection,
        connection.transaction(),
    ):
        limit(connection, ANSWER_S)
        version = connection.info.server_version // 10_000
        encoding = _setting(connection, "server_encoding")
        fsync = _setting(connection, "fsync")
        missing = connection.execute(MISSING_RIGHTS, asked).fetchall()
        timeout_ms = int(_one(connection, STATEMENT_TIMEOUT))
    if version < POSTGRES_SINCE:
        raise Unfit(f"PostgreSQL {version} is too old: {POSTGRES_SINCE} or later is needed")
    if encoding != "UTF8":
        raise Unfit(
            f"PostgreSQL's database has the encoding {encoding}: it cannot store every name and "
            "request id. Create a database with ENCODING 'UTF8'"
        )
    if missing:
        names = ", ".join(name for (name,) in missing)
        raise Unfit(f"this role of PostgreSQL lacks rights: {names}. Ask the owner to grant them")
    if 0 < timeout_ms < SHORTEST_MS:
        raise Unfit(
            f"this role's statement_timeout is {timeout_ms} ms: a busy PostgreSQL needs longer for "
            "an ordinary statement. Have the owner set it to 1s or more, or to 0: ALTER ROLE ... "
            "SET statement_timeout = 0"
        )
    if fsync != "on":
        say(
            "note: PostgreSQL's fsync is off: a crash of its machine loses stored orders. Set "
            "fsync = on"
        )


def _setting(connection: psycopg.Connection, name: str) -> str:
    return _one(connection, "SELECT current_setting(%s)", name)


def _one(connection: psycopg.Connection, query: LiteralString, *values: str) -> str:
    row = connection.execute(query, values).fetchone()
    return str(row[0]) if row else ""
