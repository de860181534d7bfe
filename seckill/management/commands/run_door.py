"""`manage.py run_door`: the buyers' HTTP door."""

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from seckill.config.layers import load
from seckill.config.sections import Door as Section
from seckill.formats.advice import in_lane
from seckill.lane.client import why_away
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import (
    add_lane_flag,
    add_section_flags,
    add_supervision_flag,
    section_flags,
)
from seckill.monitoring.metrics import serve_metrics
from seckill.process import exit_codes
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent
from seckill.process.startup import Stopped
from seckill.web.door.keys import keys_of
from seckill.web.door.processes import keep_running
from seckill.web.door.serve import FEW_FILES, raise_file_limit, serve
from seckill.web.sockets import address_of, listen, told_without_tls


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

    help = (
        "Serve the buyers' door: POST /v1/requests takes a click and answers when Kafka has it on "
        "all in-sync replicas; GET /v1/tickets/{ticket} says what became of it. Runs until SIGTERM "
        "or Ctrl-C: then those who wait are told so at once, what was taken is flushed for 5 s, "
        "and it exits 0; a second signal exits at once with 130. While Kafka or Redis is away it "
        "keeps running."
    )
    examples = ("--port 8001 --processes 2",)
    codes = {
        exit_codes.OK: "stopped",
        exit_codes.USAGE: "wrong configuration, a missing secret, or port already taken",
        exit_codes.UNREACHABLE: "Kafka was not reached at the start",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `door`."""
        add_lane_flag(parser)
        add_supervision_flag(parser)
        add_section_flags(parser, Section)

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the port, check the keys, serve."""
        with Shutdown() as shutdown:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            section = load(Section, section_flags(options, Section), lane=options["lane"])
            self._say = speaker(
                self.stdout, section.log_format, "run_door", partial(in_lane, lane=options["lane"])
            )
            keys = keys_of(section)
            files = raise_file_limit()
            if files < FEW_FILES:
                self._say(
                    f"note: this process may open {files:,} files (ulimit -n): so many buyers can "
                    "wait at the same time"
                )
            # Several processes listen each on a socket of their own.
            alone = section.processes == 1
            bound = listen(section.host, section.port, shared=True, ready=alone)
            lane = Lane.named(options["lane"])
            metrics = serve_metrics(
                section.metrics_host, section.metrics_port, section.redis_url, lane
            )
            with contextlib.closing(bound), metrics, contextlib.suppress(Stopped):
                warning = told_without_tls(bound, "buyers' tokens")
                if warning:
                    self._say(warning)
                self._say(f"buyers' door  http://{address_of(bound)}/v1/requests")
                section = section.model_copy(update={"port": bound.getsockname()[1]})
                self._look_at_redis(section)
                if alone:
                    serve(section, lane, keys, bound, shutdown, self._say)
                else:
                    keep_running(section, partial(child, lane=lane), shutdown)
            self._say("stopped")

    def _look_at_redis(self, section: Section) -> None:
        away = why_away(section.redis_url)
        if away:
            self._say(f"{away}. Serving anyway: requests are taken, and answered when it is back.")


def child(section: Section, lane: Lane) -> None:
    """The work of one of several processes."""
    leave_ctrl_c_to_the_parent()
    with Shutdown(second_exits=False) as shutdown:
        shutdown.watch_parent()
        configure_logging(section.log_format, partial(in_lane, lane=lane.name))
        raise_file_limit()
        bound = listen(section.host, section.port, shared=True)
        with contextlib.closing(bound), contextlib.suppress(Stopped):
            serve(section, lane, keys_of(section), bound, shutdown, _say_in_log)


def _say_in_log(text: str) -> None:
    logging.getLogger(__name__).info("%s", text)
