"""How logs look: readable lines, or one JSON object per line (`log_format: json`).

JSON members: at (UTC, ISO 8601), level, event, message, logger, process, and the event's own fields
(`partition`, `count`, ...); `error` with the traceback if there is one; `lane` where one command
works in several.
"""

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from seckill.process.printable import json_text, printable, printable_lines

TEXT = "%(asctime)s %(levelname)-7s %(event)s %(name)s[%(process)d]: %(message)s"
CLOCK = "%H:%M:%S"
# What is done to a message before it is told.
Adapt = Callable[[str], str]
# The event of a message without one: it comes from a library.
NO_EVENT = "-"
# Not a parameter: a command that works in several lanes tells its children, and they theirs, which
# lane their lines name.
LINES_LANE = "_SECKILL_LINES_LANE"


class TextFormatter(logging.Formatter):
    """One line for people."""

    def __init__(self) -> None:
        super().__init__(TEXT, CLOCK, defaults={"event": NO_EVENT})

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line. Text from outside is part of the message and cannot break out of it."""
        return printable(named(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:
        """The traceback. Its error may hold text from outside too."""
        return printable_lines(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        members = as_json(
            record.levelname,
            getattr(record, "event", NO_EVENT),
            record.getMessage(),
            record.name,
            record.created,
            getattr(record, "fields", {}),
        )
        if record.exc_info:
            members["error"] = self.formatException(record.exc_info)
        return json_text(members)


def as_json(
    level: str, event: str, message: str, logger: str, at: float, fields: dict[str, Any]
) -> dict[str, Any]:
    """The members of one line."""
    lane = os.environ.get(LINES_LANE)
    return {
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        "message": message,
        "logger": logger,
        "process": os.getpid(),
        **({"lane": lane} if lane else {}),
        **fields,
    }


def named(line: str) -> str:
    """A line for people, with the lane that it is about where others are beside it."""
    lane = os.environ.get(LINES_LANE)
    return f"{lane}: {line}" if lane else line


def formatter(log_format: str) -> logging.Formatter:
    """The formatter of a format: text or json."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


def as_it_is(text: str) -> str:
    """Of a process without a lane."""
    return text


def configure_logging(log_format: str, adapt: Adapt = as_it_is) -> None:
    """Log to standard error in this format: warnings of libraries, and our own messages, each as
    `adapt` makes it.
    """
    handler = logging.StreamHandler(sys.stderr)

    def adapted(record: logging.LogRecord) -> bool:
        record.msg, record.args = adapt(record.getMessage()), ()
        return True

    handler.addFilter(adapted)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("seckill", "loadgen"):
        logging.getLogger(name).setLevel(logging.INFO)
    # The library logs every connection attempt. We log once what it means.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


class Out(Protocol):
    """Where a command writes its lines: Django's `self.stdout`."""

    def write(self, msg: str = "") -> object:
        """Write a line."""

    def flush(self) -> object:
        """Flush the stream."""


def speaker(
    out: Out, log_format: str, command: str, adapt: Adapt = as_it_is
) -> Callable[[str], None]:
    """How a command prints its lines, each as `adapt` makes it: as text, or as JSON with the event
    `said`.
    """

    def say(line: str) -> None:
        line = adapt(line)
        if log_format == "json":
            now = datetime.now(UTC).timestamp()
            members = as_json("INFO", "said", line, f"seckill.{command}", now, {})
            line = json_text(members)
        else:
            line = named(line)
        out.write(printable_lines(line))
        out.flush()

    return say
