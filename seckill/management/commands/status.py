"""`manage.py status`: the sale at a glance, live on a terminal."""

import argparse
import json
import math
from typing import Any

import redis
from django.core.management.base import CommandParser
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from seckill.config.layers import load
from seckill.config.sections import ControlApi
from seckill.errors import RedisAway
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import add_lane_flag
from seckill.monitoring.look import Look, look
from seckill.monitoring.status_table import table
from seckill.process import exit_codes
from seckill.process.console import Console
from seckill.process.shutdown import Shutdown

# Columns if there is no terminal.
PLAIN_WIDTH = 160


class Command(base.Command):
    """Read, show, repeat."""

    help = (
        "Show the sale: whether it sells, stock, outcomes, latency, lag, workers, the last audit. "
        "On a terminal it refreshes until Ctrl-C; elsewhere, or with --once or --json, it shows "
        "the sale once. It only asks Redis. While Redis is away a live table keeps trying, and "
        "says so."
    )
    examples = (
        "",
        "--once",
        "--json | jq .lag",
    )
    codes = {**base.AWAY, exit_codes.OK: "shown"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Form, pace and address."""
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, the same as GET /v1/status"
        )
        parser.add_argument("--once", action="store_true", help="show it once, even on a terminal")
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=1.0,
            metavar="SECONDS",
            help="time between refreshes (default: %(default)s)",
        )
        add_lane_flag(parser)
        parser.add_argument("--redis-url", metavar="URL", help="Redis or Valkey")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        section = load(ControlApi, {"redis_url": options["redis_url"]}, lane=options["lane"])
        client, lane = connect(section.redis_url), Lane.named(options["lane"])
        console = Console(highlight=False)
        try:
            if options["json"]:
                # Here, since it brings the whole API, which most commands do without.
                from seckill.web.api.v1.schemas import StateOut

                answer = StateOut.of(look(client, lane))
                self.stdout.write(json.dumps(answer.model_dump(mode="json"), indent=2))
            elif console.is_terminal and not options["once"]:
                with Shutdown() as shutdown:
                    _live(client, lane, console, options["interval"], shutdown)
            else:
                if not console.is_terminal:
                    console = Console(highlight=False, width=PLAIN_WIDTH)
                console.print(table(look(client, lane)))
        finally:
            client.close()


def _live(
    client: "redis.Redis", lane: Lane, console: Console, interval_s: float, shutdown: Shutdown
) -> None:
    """Show the table and refresh it until a stop is requested."""
    before: Look | None = None
    with Live(console=console, auto_refresh=False) as live:
        while not shutdown.requested:
            shown: RenderableType
            try:
                now = look(client, lane)
                shown, before = table(now, before), now
            except RedisAway as away:
                shown = Text(f"{away}. Nothing is decided; requests wait in Kafka.", "red")
            live.update(shown, refresh=True)
            shutdown.wait(interval_s)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and 0.1 <= seconds <= 3600):
        raise argparse.ArgumentTypeError(f"{text!r}: seconds from 0.1 to 3600")
    return seconds
