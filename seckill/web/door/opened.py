"""What a door opens in Kafka for each lane before it serves anybody."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seckill.broker.opening import open_outbox
from seckill.broker.outbox import Outbox
from seckill.broker.source import Source, open_source
from seckill.config.sections import Door as Section
from seckill.errors import BrokerAway
from seckill.formats.advice import in_lane
from seckill.formats.settle import settle_topic
from seckill.telemetry.traced_outbox import traced_outbox
from seckill.web.door.settling import Settling


@dataclass(frozen=True)
class Opened:
    """The connections of a lane to Kafka, and its topic's id."""

    reader: Source
    source: str
    outbox: Outbox
    settling: Settling

    def flush_until(self, until: float) -> int:
        """Wait until all that was handed over has a result, or until then on the monotonic clock;
        returns how many have none.
        """
        left = self.outbox.flush(max(0.0, until - time.monotonic()))
        return left + self.settling.flush(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Close the connections."""
        self.outbox.close()
        self.settling.close()
        self.reader.close()


def open_all(
    sections: Mapping[str, Section], say: Callable[[str], None]
) -> tuple[dict[str, Opened], dict[str, str]]:
    """{lane: its connections}, and {lane: why it is closed} of those that cannot be opened now.

    Raises BrokerAway if none can.
    """
    opened: dict[str, Opened] = {}
    closed: dict[str, str] = {}
    for lane, section in sections.items():
        try:
            opened[lane] = open_lane(section)
        except BrokerAway as away:
            closed[lane] = in_lane(f"lane {lane} is not open: {away}", lane)
            if len(closed) == len(sections):
                raise
    for why in closed.values():
        say(f"{why.rstrip('.')}. It is opened as soon as that is possible; other lanes are served")
    return opened, closed


def open_lane(section: Section) -> Opened:
    """The connections of one lane. Raises BrokerAway."""
    with contextlib.ExitStack() as ends:
        reader = ends.enter_context(contextlib.closing(open_source(section)))
        source = reader.source(section.topic)
        if source is None:
            raise BrokerAway(f"there is no topic {section.topic}; manage.py run_consumer makes it")
        outbox = traced_outbox(open_outbox(section, section.topic), section)
        ends.callback(outbox.close)
        opened = Opened(reader, source, outbox, Settling(settle_topic(section.topic)))
        _open_settling(section, reader, opened.settling)
        # Nobody needs them if one cannot be opened; else they stay open.
        ends.pop_all()
        return opened


def can_open(section: Section) -> bool:
    """Whether a closed lane can be opened now."""
    try:
        open_lane(section).close()
    except BrokerAway:
        return False
    return True


def look_for_settling(section: Section, settling: Settling) -> None:
    """Open the settle topic if it is there. Raises BrokerAway.

    With a reader of its own: that of the requests has a thread of its own.
    """
    with contextlib.closing(open_source(section)) as reader:
        _open_settling(section, reader, settling)


def _open_settling(section: Section, reader: Source, settling: Settling) -> None:
    if not settling.is_open and reader.source(settling.topic) is not None:
        settling.open(open_outbox(section, settling.topic))
