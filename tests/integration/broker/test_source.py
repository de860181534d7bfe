"""Which topic it is: the same answer from both clients, also after a topic was made again."""

import gc
import socket
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from seckill.broker import source as sources
from seckill.broker.source import open_source
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import BrokerAway
from tests.conftest import wait_until


def test_a_topic_that_was_made_again_is_another_one(
    server: Server, topics: Topics, kafka_client: str
) -> None:
    asker = open_source(server.model_copy(update={"kafka_client": kafka_client}))
    assert asker.source(f"{server.topic}-not-there") is None
    before = asker.source(server.topic)
    assert before == topics.source(server.topic) is not None
    topics.delete(server.topic)
    wait_until(lambda: asker.source(server.topic) is None, 20, "the topic is gone")
    topics.ensure(server.topic, 1)
    after = asker.source(server.topic)
    assert after == topics.source(server.topic) is not None
    assert after != before
    asker.close()


def test_a_deleted_topic_is_gone_when_the_call_returns(server: Server, topics: Topics) -> None:
    """Else it is still found by `ensure`, which makes nothing, and then there is none."""
    name = f"{server.topic}-again"
    for _ in range(20):
        assert topics.ensure(name, 1)
        topics.delete(name)
        assert topics.source(name) is None


def test_nobody_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the client that has no test of its own for it."""
    monkeypatch.setattr(sources, "ASK_S", 0.5)
    flags = {"kafka_client": "confluent-kafka", "brokers": "127.0.0.1:1"}
    with pytest.raises(BrokerAway):
        open_source(server.model_copy(update=flags)).source(server.topic)


def test_a_question_that_the_library_forgets(
    server: Server, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka never ended one: a door that waited for it would give no ticket any more."""

    class Forgetful(AdminClient):  # type: ignore[misc]
        def describe_topics(self, asked: Any, **options: Any) -> dict[str, Future[Any]]:
            return {server.topic: Future()}

    flags = {"kafka_client": "confluent-kafka"}
    monkeypatch.setattr(sources, "ASK_S", 0.5)
    with monkeypatch.context() as forgetting:
        forgetting.setattr(sources, "AdminClient", Forgetful)
        asker = open_source(server.model_copy(update=flags))
    known = topics.source(server.topic)
    # The other client is asked, for a while.
    assert asker.source(server.topic) == asker.source(server.topic) == known
    monkeypatch.setattr(sources, "ASK_S", 10.0)
    monkeypatch.setattr(asker, "_instead_until", 0.0)
    assert asker.source(server.topic) == known
    assert asker._instead is None  # type: ignore[attr-defined]
    assert asker.source(server.topic) == known
    asker.close()


def test_what_does_not_connect_is_closed_at_once() -> None:
    """kafka-python left it to the collector, which looks rarely in a consumer: no files were
    left.
    """

    def left_open() -> int:
        found = [one for one in gc.get_objects() if isinstance(one, socket.socket)]
        return sum(1 for one in found if one.family == socket.AF_INET and one.fileno() >= 0)

    with socket.socket() as nobody:
        # Bound, and not listening: whoever comes is refused.
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        gc.collect()
        gc.disable()
        try:
            before = left_open()
            with pytest.raises(BrokerAway, match="Unable to bootstrap"):
                Topics(Server(brokers=f"127.0.0.1:{port}"))
            assert left_open() == before
        finally:
            gc.enable()
