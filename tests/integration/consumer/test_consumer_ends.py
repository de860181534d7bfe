"""How a consumer ends where Kafka ends it: all is closed, and its process says so."""

import multiprocessing
from collections.abc import Callable

import pytest

from seckill import broker
from seckill.broker.opening import open_consumer
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.consumer import child
from seckill.consumer.consumer import Consumer
from seckill.consumer.engine import Engine
from seckill.dead_letters.writer import DeadLetters
from seckill.errors import BrokerAway
from seckill.lane.keys import Lane
from seckill.process.exit_codes import UNREACHABLE
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until

LANE = Lane()


def refuse(*_: object) -> None:
    raise BrokerAway("not now")


def noting(
    closed: list[str], server: Server, client: broker.Consumer, engine: Engine
) -> DeadLetters:
    """Dead letters that note their end, as the engine and the client do from now on."""
    letters = DeadLetters(server, refuse)  # type: ignore[arg-type]
    for name, part in (("client", client), ("letters", letters), ("engine", engine)):
        close = part.close

        def noted(name: str = name, close: object = close) -> None:
            closed.append(name)
            close()  # type: ignore[operator]
            if name == "client":
                raise BrokerAway("no answer to the goodbye")

        part.close = noted  # type: ignore[method-assign]
    return letters


@pytest.mark.parametrize("asked", [True, False], ids=["by a stop", "by Kafka"])
def test_all_is_closed_however_it_ends(
    server: Server, topics: Topics, kafka_client: str, asked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server = server.model_copy(update={"kafka_client": kafka_client})
    client, engine = open_consumer(server), Engine(server.redis_url, LANE)
    closed: list[str] = []
    consumer = Consumer(
        client=client,
        engine=engine,
        dead_letters=noting(closed, server, client, engine),
        shutdown=Shutdown(),
        find_source=lambda: topics.source(server.topic),
    )
    if asked:
        consumer.shutdown.request()
        consumer.run()
    else:
        client.assignments = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(BrokerAway, match="not now"):
            consumer.run()
    assert closed == ["client", "letters", "engine"]
    assert "no answer to the goodbye" in caplog.text


def consume_with_a_broken_client(server: Server) -> None:
    """The child process of the next test."""

    def broken(server: Server, assigned: Callable[[], None]) -> broker.Consumer:
        client = open_consumer(server, assigned)
        client.assignments = refuse  # type: ignore[method-assign, assignment]
        return client

    child.open_consumer = broken
    child.consume(server, LANE)


def test_the_process_says_that_it_did_not_end_well(
    server: Server, topics: Topics, capfd: pytest.CaptureFixture[str]
) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=consume_with_a_broken_client, args=(server,))
    process.start()
    wait_until(lambda: process.exitcode is not None, 60, "it ends")
    assert process.exitcode == UNREACHABLE
    said = capfd.readouterr().err
    assert "Kafka is away: not now: this consumer ends" in said
    assert "Traceback" not in said
