"""`manage.py run_door`: the buyers' HTTP door."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from seckill.config.layers import load
from seckill.config.sections import Door as Section
from seckill.formats.advice import in_lane
from seckill.formats.lanes import ALL
from seckill.lane.client import why_away
from seckill.management import base
from seckill.management.arguments import (
    add_lanes_flag,
    add_section_flags,
    add_supervision_flag,
    lanes_of,
    refuse_for_several,
    section_flags,
)
from seckill.monitoring.metrics import serve_metrics
from seckill.process import exit_codes
from seckill.process.logs import Adapt, as_it_is, configure_logging, speaker
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent
from seckill.process.startup import Stopped
from seckill.process.streams import prepare
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
        add_lanes_flag(parser, ALL)
        add_supervision_flag(parser)
        add_section_flags(parser, Section)

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the port, check the keys, serve."""
        with Shutdown() as shutdown:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            lanes = lanes_of(options, ALL)
            refuse_for_several(lanes, options)
            flags = section_flags(options, Section)
            sections = {lane: load(Section, flags, lane=lane) for lane in lanes}
            section = sections[lanes[0]]
            self._say = speaker(self.stdout, section.log_format, "run_door", _adapt(lanes))
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
            addresses = {lane: each.redis_url for lane, each in sections.items()}
            metrics = serve_metrics(section.metrics_host, section.metrics_port, addresses)
            with contextlib.closing(bound), metrics, contextlib.suppress(Stopped):
                warning = told_without_tls(bound, "buyers' tokens")
                if warning:
                    self._say(warning)
                if len(lanes) > 1:
                    self._say(f"lanes {', '.join(lanes)}")
                self._say(f"buyers' door  http://{address_of(bound)}/v1/requests")
                self._look_at_redis(addresses)
                if alone:
                    serve(sections, keys, bound, shutdown, self._say)
                else:
                    port = bound.getsockname()[1]
                    keep_running(section.processes, child, (sections, port), shutdown)
            self._say("stopped")

    def _look_at_redis(self, addresses: Mapping[str, str]) -> None:
        for address in dict.fromkeys(addresses.values()):
            away = why_away(address)
            if away:
                self._say(
                    f"{away}. Serving anyway: requests are taken, and answered when it is back."
                )


def _adapt(lanes: Sequence[str]) -> Adapt:
    """Commands that are advised are those of the lane, if it is one."""
    return partial(in_lane, lane=lanes[0]) if len(lanes) == 1 else as_it_is


def child(sections: Mapping[str, Section], port: int) -> None:
    """The work of one of several processes, on the port that their parent holds."""
    leave_ctrl_c_to_the_parent()
    prepare()
    with Shutdown(second_exits=False) as shutdown:
        shutdown.watch_parent()
        section = next(iter(sections.values()))
        configure_logging(section.log_format, _adapt(list(sections)))
        raise_file_limit()
        bound = listen(section.host, port, shared=True)
        with contextlib.closing(bound), contextlib.suppress(Stopped):
            serve(sections, keys_of(section), bound, shutdown, _say_in_log)


def _say_in_log(text: str) -> None:
    logging.getLogger(__name__).info("%s", text)
