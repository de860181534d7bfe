"""`manage.py report`: the report of a sale as one HTML file."""

import argparse
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import translation

from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.control.journal import refuse_other_lane
from seckill.errors import NoSuchActivity, OtherLane
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.acts import activity_number
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    section_flags,
    use_database,
)
from seckill.models import Activity
from seckill.process import exit_codes
from seckill.report.data import MESSAGES
from seckill.report.page import render
from seckill.report.parts import Frame, part_text
from seckill.report.whole import report_of
from seckill.web.admin.desk_texts import outcome_text

if TYPE_CHECKING:
    import redis

# What each lane has for itself.
OF_ONE_LANE = ("redis_url", "topic", "group_id")


class Command(base.Command):
    """Collect, write, say where."""

    help = (
        "Write a report of a finished or running sale as one HTML file that needs no network: "
        "stock and outcomes over time, latency, sell-out of each item, fairness, lost sales, the "
        "audit. Of a sale over several lanes its head has the report of the whole, and each other "
        "part one of its own. It only reads."
    )
    examples = (
        "--output sale.html",
        "--activity-id 7 --messages 0 --output sale-7.html",
    )
    codes = {
        **base.AWAY,
        exit_codes.FAILED: "the activity is not loaded, or the file cannot be written",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """Which sale, where to, how much of the topic."""
        parser.add_argument(
            "--activity-id", type=activity_number, default=DEFAULT_ACTIVITY, metavar="N",
            help="activity (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--output", type=_file, default=Path("report.html"), metavar="FILE",
            help="file to write (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--messages", type=int, default=MESSAGES, metavar="N",
            help="the most messages to read from the topic for fairness (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument("--no-audit", action="store_true", help="leave the audit out")
        parser.add_argument(
            "--language", choices=[code for code, _name in settings.LANGUAGES], default="en",
            help="language of the report (default: %(default)s)",
        )  # fmt: skip
        add_lane_flag(parser)
        add_address_flags(parser, *STORE_FLAGS, *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        server = load(Server, section_flags(options, Server), lane=options["lane"])
        use_database(server.pg_dsn)
        try:
            refuse_other_lane(options["activity_id"], Lane.named(options["lane"]))
            with translation.override(options["language"]), contextlib.ExitStack() as ends:

                def open_lane(name: str) -> tuple["redis.Redis", Server]:
                    found = server
                    if name != options["lane"]:
                        found = load(Server, _flags_of_all(options), lane=name)
                    return ends.enter_context(connect(found.redis_url)), found

                report = report_of(
                    options["activity_id"],
                    options["lane"],
                    open_lane,
                    messages=max(0, options["messages"]),
                    with_audit=not options["no_audit"],
                )
                row = Activity.objects.filter(pk=options["activity_id"]).first()
                frame = Frame(row.name if row else "", outcome_text, part=part_text(row))
                page = render(report, frame)
            options["output"].write_text(page, encoding="utf-8")
        except (NoSuchActivity, OtherLane) as reason:
            raise CommandError(str(reason), returncode=exit_codes.FAILED) from None
        except OSError as wrong:
            raise CommandError(
                f"{options['output']} cannot be written: {wrong.strerror}",
                returncode=exit_codes.FAILED,
            ) from None
        self.stdout.write(f"{options['output'].resolve()}")


def _flags_of_all(options: dict[str, Any]) -> dict[str, Any]:
    """The flags that hold for every lane of a sale: not those that say where one of them is."""
    flags = section_flags(options, Server)
    return {name: value for name, value in flags.items() if name not in OF_ONE_LANE}


def _file(name: str) -> Path:
    """A file's name from the command line."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"{name!r} is not a file name in this locale; choose another, or set LC_ALL=C.UTF-8"
        ) from None
    return Path(name)
