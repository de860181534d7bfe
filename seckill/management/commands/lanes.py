"""`manage.py lanes`: the configured lanes, where each lives, and what it holds."""

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandParser
from django.db.models import Count
from redis.crc import key_slot
from rich.table import Table

from seckill.config.layers import lane_addresses, load
from seckill.config.sections import ControlApi, Server
from seckill.errors import RedisAway
from seckill.lane.client import connect, redis_errors
from seckill.lane.keys import Lane
from seckill.lane.pools import server_of
from seckill.lane.status import read_lane
from seckill.management import base
from seckill.management.arguments import add_connection_flags, use_database
from seckill.models import Activity
from seckill.postgres.through_django import postgres_errors
from seckill.process.console import console_on

# Columns if there is no terminal.
PLAIN_WIDTH = 160


@dataclass(frozen=True)
class Row:
    """A lane. `node` is the server that decides it, of those that `redis` names. It, `decided` and
    `fenced` are null while that one is away.
    """

    lane: str
    configured: bool
    redis: str | None
    list: str
    slot: int
    topic: str | None
    group_id: str | None
    activities: int
    node: str | None = None
    decided: int | None = None
    fenced: str | None = None
    away: str | None = None


class Command(base.Command):
    """Read the configuration, PostgreSQL and each Redis; print a table."""

    help = (
        "Show the lanes: main, and those of section `lanes` in config.yaml. A lane is a Redis list "
        "with a topic and a consumer group; an activity is in one of them for good. The slot is "
        "where its keys are in a Redis Cluster, and the node the server that has it now."
    )
    examples = ("", "--json")
    codes = base.AWAY

    def add_arguments(self, parser: CommandParser) -> None:
        """The form, and main's addresses."""
        base.add_json_flag(parser)
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help. A Redis that is away is a part of the answer."""
        flags = {name: options[name] for name in ("redis_url", "pg_dsn")}
        section = load(ControlApi, flags)
        use_database(section.pg_dsn)
        with postgres_errors():
            numbers = dict(
                Activity.objects.order_by().values_list("lane").annotate(number=Count("pk"))
            )
        addresses = lane_addresses(section.redis_url)
        rows = [_row(name, address, numbers.get(name, 0)) for name, address in addresses.items()]
        rows += [
            _elsewhere(name, number)
            for name, number in sorted(numbers.items())
            if name not in addresses
        ]
        if options["json"]:
            self.print_json({"schema": 1, "lanes": [asdict(row) for row in rows]})
            return
        table = Table(
            *("lane", "redis", "list", "slot", "node", "topic", "group", "activities", "decided"),
            "",
        )
        for row in rows:
            table.add_row(
                *(row.lane, row.redis or "not configured here", row.list, str(row.slot)),
                *(row.node or "?", row.topic or "", row.group_id or "", f"{row.activities:,}"),
                "?" if row.decided is None else f"{row.decided:,}",
                row.away or (f"FENCED: {row.fenced}" if row.fenced else ""),
            )
        console = console_on(self.stdout)
        if not console.is_terminal:
            console.width = PLAIN_WIDTH
        console.print(table)


def _row(name: str, address: str, activities: int) -> Row:
    section, lane = load(Server, {}, lane=name), Lane.named(name)
    row: dict[str, Any] = {
        "lane": name,
        "configured": True,
        "redis": _without_password(address),
        "list": lane.list,
        "slot": key_slot(lane.list.encode()),
        "topic": section.topic,
        "group_id": section.group_id,
        "activities": activities,
    }
    with connect(address) as client:
        try:
            with redis_errors():
                node = server_of(client)
            status = read_lane(client, lane)
        except RedisAway as away:
            return Row(**row, away=str(away))
    fenced = status.fence.word if status.fence else None
    return Row(**row, node=node, decided=status.decided, fenced=fenced)


def _elsewhere(name: str, activities: int) -> Row:
    """A lane that only PostgreSQL knows: nobody here may act on its activities."""
    key = Lane.named(name).list
    return Row(name, False, None, key, key_slot(key.encode()), None, None, activities)


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
