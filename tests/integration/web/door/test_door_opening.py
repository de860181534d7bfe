"""What a door opens in Kafka before it serves anybody."""

from typing import Any

import pytest

from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Door, Server
from seckill.errors import BrokerAway
from seckill.formats.settle import settle_topic
from seckill.web.door import opened as opening
from tests.helpers.door import KEYS, TICKET_SECRET


def test_what_is_open_is_closed_if_kafka_goes_away_in_between(
    server: Server, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door tries again: else each attempt would leave a client with its threads behind."""
    topics.ensure(settle_topic(server.topic), 1)
    section = load(
        Door,
        {
            "brokers": server.brokers,
            "topic": server.topic,
            "buyer_keys": KEYS,
            "ticket_secret": f"1:{TICKET_SECRET}",
        },
        {},
    )
    opened: list[str] = []
    closed: list[str] = []
    plain = opening.open_outbox

    def one_only(section: Any, topic: str) -> Any:
        if opened:
            raise BrokerAway("in a test")
        outbox = plain(section, topic)
        opened.append(topic)
        close = outbox.close
        monkeypatch.setattr(outbox, "close", lambda: (closed.append(topic), close()))
        return outbox

    monkeypatch.setattr(opening, "open_outbox", one_only)
    with pytest.raises(BrokerAway):
        opening.open_lane(section)
    assert opened == closed == [server.topic]
    topics.delete(settle_topic(server.topic))
