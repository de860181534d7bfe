"""Lines that have died without a word: connections stay, and nothing arrives any more.

In this process, since what tells such a line from a slow one is a time limit, here a short one.
For Kafka see `test_lost_reply.py`: there the group's session is the limit.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from seckill.broker.topics import Topics
from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.faults.dying import build
from tests.faults.harness import Sale
from tests.faults.lines import on_line, port_of
from tests.faults.proxy import Proxy

# Seconds after which a line counts as dead.
LIMIT_S = 1.0


@contextmanager
def in_background(work: Callable[[], None], shutdown: Shutdown) -> Iterator[None]:
    """The work in a thread, until the block ends."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        shutdown.request()
        thread.join(120)
        assert not thread.is_alive()


def test_a_line_to_valkey_dies(sale: Sale, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seckill.consumer.engine.SCRIPT_TIMEOUT_S", LIMIT_S)
    sale.load_stock()
    server = sale.server.model_copy(update={"batch_size": 100})
    with Proxy(port_of(server.redis_url)) as line, Topics(server) as topics:
        shutdown, engine = Shutdown(), Engine(on_line(server.redis_url, line), Lane())
        consumer = build(server, topics, shutdown, engine)
        with sale.load(1_000), in_background(consumer.run, shutdown):
            sale.wait_decided(500)
            line.swallow()
            wait_until(lambda: "Redis is away" in consumer.hold, 20, "the consumer holds")
            line.behave()
            sale.wait_decided(sale.sent)
            sale.wait_decided(sale.sent)
            # A busy machine's answer may take longer than the limit, and be asked for again.
            wait_until(lambda: consumer.hold == "", 20, "the consumer holds no more")
    sale.finish()


def test_a_line_to_postgresql_dies(sale: Sale, caplog: pytest.LogCaptureFixture) -> None:
    sale.backlog(4_000)
    assert sale.consumer("--drain").ended(40) == 0
    dsn = sale.environment["SECKILL_PG_DSN"]
    with Proxy(port_of(dsn)) as line:
        shutdown, storage = Shutdown(), Storage(on_line(dsn, line), answer_limit_s=LIMIT_S)
        # Small batches, so that the line dies in the middle of one.
        worker = LogWorker(sale.redis, storage, shutdown, batch_size=20, say=lambda line: None)
        with in_background(worker.run, shutdown):
            wait_until(lambda: worker.stored > 100, 20, "some records are stored")
            line.swallow()
            said = f"PostgreSQL is away: no answer in {LIMIT_S:.0f} s"
            wait_until(lambda: said in caplog.text, 20, "the log worker gives the line up")
            line.behave()
            wait_until(lambda: sale.look().waiting == 0, 60, "all records are stored")
        storage.close()
    sale.prove()
