"""PostgreSQL's primary is killed under load, and its standby promoted: one address finds it.

A standby that nobody waits for lacks commits: that is noticed, and the topic has them. One that is
waited for lacks none. A former primary that comes back as a second writer stores nothing.
"""

import threading
import time

import pytest

from seckill.models import Record
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.faults.harness import Sale
from tests.faults.opening import OpenSale
from tests.helpers.pair import OnePostgres, Pair

ORDERS = """
SELECT user_id, item_id, quantity, source::text, partition, "offset", request_id
FROM seckill_record ORDER BY 4, 5, 6, 2
"""
OLDER = "PostgreSQL is older than what was stored: record .* was stored, and is not there any more"


@pytest.fixture
def sale(pair: Pair, open_sale: OpenSale) -> Sale:
    """A sale on the pair."""
    return open_sale(4)


class Pulse(threading.Thread):
    """Looks at a sale all the time: how long nothing was decided, at most."""

    def __init__(self, sale: Sale) -> None:
        super().__init__(daemon=True)
        self._sale = sale
        self._done = threading.Event()
        self.longest_s = 0.0

    def run(self) -> None:
        """Look until it is told to end."""
        before, since = self._sale.decided(), time.monotonic()
        while not self._done.wait(0.02):
            now = self._sale.decided()
            if now > before:
                before, since = now, time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - since)

    def ended(self) -> float:
        """The longest pause, in seconds."""
        self._done.set()
        self.join()
        return self.longest_s


def orders(server: OnePostgres) -> list[tuple[object, ...]]:
    """All stored orders of one of the two servers."""
    return server.ask(ORDERS)


def lose_the_primary(sale: Sale, pair: Pair, log_worker: Command) -> float:
    """Kill it, look whether the sale goes on, promote the standby. When that was done."""
    pulse = Pulse(sale)
    pulse.start()
    pair.first.kill()
    log_worker.wait_for("PostgreSQL is away: .*; records wait in Redis, nothing is lost")
    # The sale itself needs no PostgreSQL.
    sale.wait_decided(sale.decided() + 3_000)
    pair.promote()
    promoted = time.monotonic()
    print(f"the longest pause without a decision: {pulse.ended():.2f} s")
    sale.again()
    return promoted


def stored_again(sale: Sale, since: float) -> None:
    """Wait until the log worker has taken more off the list."""
    stored = sale.stored()
    wait_until(lambda: sale.stored() > stored, 30, "storing goes on")
    print(f"storing went on {time.monotonic() - since:.2f} s after the promotion")


def run(sale: Sale, *arguments: str, code: int = 0) -> str:
    """A command about this sale's topic, and the end that it must have."""
    command = sale.start(*arguments, "--topic", sale.server.topic)
    assert command.ended(90) == code, command.output
    return command.output


def conclude(sale: Sale, *commands: Command) -> None:
    """All decided, all stored, all proved, against Kafka too."""
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(*commands)
    run(sale, "audit", "--kafka")
    sale.prove()


def test_a_standby_that_is_waited_for_has_everything(sale: Sale, pair: Pair) -> None:
    pair.must_acknowledge()
    consumer, log_worker = sale.consumer(), sale.log_worker("--batch-size", "500")
    with sale.load(2_000):
        wait_until(lambda: sale.stored() > 2_000, 30, "some are stored")
        # Nothing counts as stored that the standby has not heard of.
        pair.lag()
        sale.wait_decided(sale.decided() + 4_000)
        stored_again(sale, lose_the_primary(sale, pair, log_worker))
        log_worker.wait_for("going on: all services answer again")
    conclude(sale, consumer, log_worker)
    assert log_worker.count("is older than") == 0
    # What the killed one had committed for itself alone was stored again.
    pair.first.start()
    assert set(orders(pair.first)) <= set(orders(pair.second))


def test_a_standby_that_lags_loses_commits_which_the_topic_has(sale: Sale, pair: Pair) -> None:
    consumer, log_worker = sale.consumer(), sale.log_worker("--batch-size", "500")
    with sale.load(2_000):
        wait_until(lambda: sale.stored() > 2_000, 30, "some are stored")
        pair.lag()
        stored = sale.stored()
        wait_until(lambda: sale.stored() > stored + 2_000, 30, "the standby lacks some")
        lose_the_primary(sale, pair, log_worker)
        kept = Record.objects.count()
        assert 0 < kept <= sale.stored() - 2_000
        log_worker.wait_for(OLDER)
        # Nobody is told to sell again what was sold, and nobody can.
        assert "recover --apply --from-kafka" in run(sale, "audit", code=1)
        refused = sale.start("sync_from_db")
        assert refused.ended() == 1
        assert "older than what was stored" in refused.output
        assert run(sale, "recover", "--apply", code=1).count("--from-kafka")
        assert Record.objects.count() == kept
        run(sale, "recover", "--apply", "--from-kafka")
        log_worker.wait_for("going on: all services answer again")
        sale.wait_decided(sale.decided() + 2_000)
    conclude(sale, consumer, log_worker)
    # Exactly those that the killed one had.
    pair.first.start()
    assert set(orders(pair.first)) <= set(orders(pair.second))


def test_a_former_primary_that_comes_back_as_a_second_writer(sale: Sale, pair: Pair) -> None:
    """It stands first in the address, so whoever connects anew would write there."""
    pair.must_acknowledge()
    consumer, log_worker = sale.consumer(), sale.log_worker("--batch-size", "500")
    with sale.load(1_000):
        wait_until(lambda: sale.stored() > 1_000, 30, "some are stored")
        stored_again(sale, lose_the_primary(sale, pair, log_worker))
        # As somebody does who has it answer at any price.
        auto = pair.first.data / "postgresql.auto.conf"
        auto.write_text(auto.read_text() + "synchronous_standby_names = ''\n")
        pair.first.start()
        before = orders(pair.first)
        second = sale.log_worker()
        second.wait_for(OLDER)
        sale.again()
        assert "PostgreSQL" in run(sale, "audit", code=1)
        stop(second)
        assert orders(pair.first) == before
        # The worker that was never at the former one stores on.
        stored = sale.stored()
        wait_until(lambda: sale.stored() > stored + 1_000, 30, "storing goes on")
        pair.rejoin()
        sale.again()
        second = sale.log_worker()
        sale.wait_decided(sale.decided() + 1_000)
    conclude(sale, consumer, log_worker, second)
    assert second.count("is older than") == 0
