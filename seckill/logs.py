"""How logs look: readable lines, or one JSON object a line (`log_format: json`).

JSON members: at (UTC, ISO 8601), level, event, message, logger, process, and the event's own fields
(`partition`, `count`, ...); `error` with the traceback where there is one.
"""

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import OutputWrapper

from seckill.printable import json_text, printable, printable_lines

TEXT = "%(asctime)s %(levelname)-7s %(event)s %(name)s[%(process)d]: %(message)s"
CLOCK = "%H:%M:%S"
# The event of a message that has none: of a library.
NO_EVENT = "-"


class TextFormatter(logging.Formatter):
    """One line for people."""

    def __init__(self) -> None:
        super().__init__(TEXT, CLOCK, defaults={"event": NO_EVENT})

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line: what came from outside is in the message, and stays in it."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback, whose error may hold such texts too."""
        return printable_lines(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

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
    return {
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        "message": message,
        "logger": logger,
        "process": os.getpid(),
        **fields,
    }


def formatter(log_format: str) -> logging.Formatter:
    """The formatter of a format: text or json."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


def configure_logging(log_format: str) -> None:
    """Log to standard error in this format: warnings, and what our own modules tell."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("seckill", "loadgen"):
        logging.getLogger(name).setLevel(logging.INFO)
    # The library tells each attempt to connect; what it means is told by us, once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def speaker(out: OutputWrapper, log_format: str, command: str) -> Callable[[str], None]:
    """How a command says its lines: as they are, or as JSON with the event `said`."""

    def say(line: str) -> None:
        if log_format == "json":
            now = datetime.now(UTC).timestamp()
            members = as_json("INFO", "said", line, f"seckill.{command}", now, {})
            line = json_text(members)
        out.write(printable_lines(line))
        out.flush()

    return say
