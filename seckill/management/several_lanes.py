"""A worker's command for several lanes: one process for each lane, all below one parent.

Owns what the lanes share: the stop, the metrics, the exit code. A lane's process is the command as
it would be with that one `--lane`, so one that cannot work takes nothing from the others: it ends,
and is started again. The command ends by itself when no lane is left.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import django
from django.core.management.base import BaseCommand, CommandError

from seckill.config.layers import load
from seckill.management.arguments import refuse_for_several, section_flags
from seckill.management.utility import run_with
from seckill.monitoring.metrics import serve_metrics
from seckill.process.crew import Crew
from seckill.process.events import event
from seckill.process.logs import LINES_LANE, configure_logging, speaker
from seckill.process.shutdown import Shutdown, leave_ctrl_c_to_the_parent

log = logging.getLogger(__name__)

# Seconds between two looks at the lanes, and that they have for a stop: more than a worker gives
# its own children.
LOOK_S, STOP_S = 0.25, 30.0


def run_lanes(
    command: BaseCommand,
    kind: type[Any],
    lanes: Sequence[str],
    options: Mapping[str, Any],
    one_lane: Sequence[str],
    *,
    once: bool,
) -> None:
    """Work in all `lanes` until a stop is requested; with `once` until each has ended by itself.

    Raises ConfigError, and CommandError with the code of the first lane that failed.
    """
    refuse_for_several(lanes, options, one_lane)
    name = type(command).__module__.rpartition(".")[2]
    sections = {lane: load(kind, section_flags(dict(options), kind), lane=lane) for lane in lanes}
    first = sections[lanes[0]]
    configure_logging(first.log_format)
    say = speaker(command.stdout, first.log_format, name)
    below = {**options, "stop_with_stdin": False, "metrics_port": "0"}
    crew = Crew(
        work_in_lane,
        {lane: (name, {**below, "lanes": [lane]}) for lane in lanes},
        _tell,
        parents=True,
    )
    with Shutdown() as shutdown, ExitStack() as ends:
        if options["stop_with_stdin"]:
            shutdown.watch_stdin()
        addresses = {lane: section.redis_url for lane, section in sections.items()}
        ends.enter_context(serve_metrics(first.metrics_host, first.metrics_port, addresses))
        say(f"lanes {', '.join(lanes)}: a process each")
        try:
            while not shutdown.wait(LOOK_S):
                # Who was killed is no answer: the same work is begun again.
                crew.keep_alive(lambda code: code < 0 or not once)
                if len(crew.ended) == len(lanes) and min(crew.ended.values()) >= (0 if once else 1):
                    break
        finally:
            if shutdown.requested:
                # What ended before, and would have been started again, is no failure of this stop.
                crew.ended.clear()
            killed = crew.stop(STOP_S)
    if killed:
        log.error(
            "%d lanes did not stop within %.0f s and were killed; nothing is lost",
            *(killed, STOP_S),
            extra=event("lane-killed", lanes=killed),
        )
    for lane in lanes:
        if crew.ended.get(lane, 0) > 0:
            raise CommandError(f"lane {lane}: its lines say why", returncode=crew.ended[lane])


def work_in_lane(name: str, options: dict[str, Any]) -> None:
    """The work of one lane's process: the command `name` with these options."""
    leave_ctrl_c_to_the_parent()
    [os.environ[LINES_LANE]] = options["lanes"]
    django.setup()
    run_with(name, options)


def _tell(lane: str, code: int, pause_s: float) -> None:
    log.error(
        "lane %s ended with code %s; nothing is lost, the others go on, and it starts again in "
        "%.0f s",
        *(lane, code, pause_s),
        extra=event("lane-ended", lane=lane, code=code),
    )
