"""Commands that a text advises to run: in another lane than main each needs `--lane NAME`.

Owns which commands work in one lane. Whoever tells something of a lane passes the text through
here, so that a text itself names the command alone: `manage.py recover`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from seckill.errors import Refused, ServiceAway
from seckill.formats.lanes import MAIN

# Commands with --lane, and the verbs of those that have it behind a verb.
COMMANDS = (
    *("add_stock", "audit", "finish", "finish_activity", "healthy", "pause", "recover", "reopen"),
    *("report", "resume", "run_consumer", "run_door", "run_events", "run_loadgen"),
    *("run_log_worker", "run_settler", "run_webhooks", "set_stock", "status", "sync_from_db"),
    "wait",
)
VERBS = {
    "activity": ("create", "set", "split"),
    "dead_letters": ("dismiss", "list", "replay", "show"),
    "seasons": ("begin",),
}
_NAMES = "|".join((*COMMANDS, *(f"{name} (?:{'|'.join(verbs)})" for name, verbs in VERBS.items())))
ADVICE = re.compile(rf"manage\.py (?:{_NAMES})\b(?! --(?:lane|all)\b)")


def in_lane(text: str, lane: str) -> str:
    """The text with `--lane NAME` in each command that it advises. It may be given twice."""
    return text if lane == MAIN else ADVICE.sub(rf"\g<0> --lane {lane}", text)


@contextmanager
def advised(lane: str) -> Iterator[None]:
    """What is refused in the block advises commands of this lane."""
    try:
        yield
    except (Refused, ServiceAway) as told:
        told.args = (in_lane(str(told), lane), *told.args[1:])
        raise
