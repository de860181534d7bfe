"""The log worker on real services: once, whatever is lost between two steps, and all of it."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from seckill.errors import PostgresAway, RedisAway
from seckill.lane.client import no_retry
from seckill.log_worker.storage import Storage, Stored
from seckill.log_worker.worker import LogWorker
from seckill.models import DeadRecord, Item, Record
from tests.conftest import wait_until
from tests.helpers.books import cut_all_others
from tests.helpers.sale import waiting
from tests.helpers.storing import LANE, Lossy, StoredSale, all_stored_once


def dead() -> list[DeadRecord]:
    """What is kept apart, the oldest first."""
    return list(DeadRecord.objects.order_by("id"))


def test_one_turn_moves_one_batch_from_the_tail(sale: StoredSale) -> None:
    sale.accept(10, {1001: 1, 1002: 3})
    records = waiting(sale.client)
    worker = sale.worker(batch_size=6)
    assert worker.run_once() == 6
    assert waiting(sale.client) == records[6:]
    stored = Record.objects.order_by("id").values_list("user_id", "item_id", "quantity")
    assert list(stored) == [(r["user_id"], r["item_id"], r["quantity"]) for r in records[:6]]
    assert [worker.run_once() for _ in range(4)] == [6, 6, 2, 0]
    assert (worker.stored, worker.known, worker.parked) == (20, 0, 0)
    all_stored_once(sale, 20)
    assert Item.objects.get(item_id=1002).sold == 30


@pytest.mark.parametrize(
    ("batch_size", "turns"), [(5, [4, 4, 4, 0]), (3, [2] * 6 + [0]), (1, [1] * 12 + [0])]
)
def test_a_batch_ends_with_a_whole_request(
    sale: StoredSale, batch_size: int, turns: list[int]
) -> None:
    """Redis may be lost between two batches: nobody has half of an order then."""
    sale.accept(6, {1001: 1, 1002: 1})
    worker = sale.worker(batch_size=batch_size)
    assert [worker.run_once() for _ in turns] == turns
    all_stored_once(sale, 12)


def test_the_next_batch_is_read_while_postgresql_stores(sale: StoredSale) -> None:
    """And it is forgotten where the batch before it was not stored."""
    sale.accept(24)
    records = waiting(sale.client)
    reads: list[tuple[Any, ...]] = []

    class Watched(redis.Redis):
        def pipeline(self, *args: Any, **options: Any) -> Any:
            pipe = super().pipeline(*args, **options)
            execute = pipe.execute

            def watched() -> Any:
                read = pipe.command_stack[1][0]
                answer = execute()
                reads.append(read[2:])
                return answer

            pipe.execute = watched
            return pipe

    class Waiting(Storage):
        def store(self, *args: Any, **options: Any) -> Stored:
            wait_until(lambda: len(reads) > wanted, 20, "the next batch is read")
            if wanted == 2:
                raise PostgresAway("in between")
            return super().store(*args, **options)

    sale.worker(batch_size=1).run_once()
    sale.accept(1)
    client = Watched.from_url(sale.redis_url, retry=no_retry())
    records = waiting(sale.client)
    worker = sale.worker(Waiting(sale.dsn), client=client, batch_size=8)
    wanted = 1
    assert worker.run_once() == 8
    wanted = 2
    with pytest.raises(PostgresAway):
        worker.run_once()
    assert waiting(sale.client) == records[8:]
    wanted = 0
    assert [worker.run_once() for _ in range(3)] == [8, 8, 0]
    assert reads[:4] == [(-9, -1), (-17, -9), (-17, -9), (-9, -1)]
    assert (worker.stored, worker.known) == (24, 0)
    all_stored_once(sale, 25)
    client.close()


def test_what_comes_after_a_full_batch_is_not_taken_for_nothing(sale: StoredSale) -> None:
    """The next batch was looked for before it came: 0 would end a drain."""
    sale.accept(2)
    worker = sale.worker(batch_size=2)
    assert worker.run_once() == 2
    sale.accept(1)
    assert [worker.run_once() for _ in range(2)] == [1, 0]
    all_stored_once(sale, 3)


def test_a_batch_read_twice_is_stored_once(sale: StoredSale) -> None:
    sale.accept(5)
    copy = sale.client.lrange(LANE.list, 0, -1)
    sale.worker().run_once()
    sale.client.rpush(LANE.list, *copy)
    again = sale.worker()
    assert again.run_once() == 5
    assert (again.stored, again.known) == (0, 5)
    all_stored_once(sale, 5)


class LossyStorage(Storage):
    """Does what it is asked; then `after` may raise, as if the answer were lost."""

    after: Callable[[], None] | None = None

    def store(self, *args: Any, **options: Any) -> Stored:
        answer = super().store(*args, **options)
        if self.after is not None:
            after, self.after = self.after, None
            after()
        return answer


class Killed(BaseException):
    """kill -9: nobody catches it."""


def fail(error: BaseException) -> Callable[[], None]:
    """Something that raises this."""

    def now() -> None:
        raise error

    return now


@pytest.mark.parametrize("command", ["LRANGE", "EVALSHA"])
def test_redis_loses_an_answer(sale: StoredSale, command: str) -> None:
    """EVALSHA is the trim: it was done, and the worker does not know."""
    sale.accept(5)
    client = Lossy.from_url(sale.redis_url, retry=no_retry())
    sale.worker().run_once()
    sale.accept(20)
    worker = sale.worker(client=client, batch_size=8)
    client.lose = command
    with pytest.raises(RedisAway, match="lost"):
        worker.run_once()
    sale.accept(3)
    while worker.run_once():
        pass
    all_stored_once(sale, 28)
    client.close()


@pytest.mark.parametrize(
    "error", [PostgresAway("the answer was lost"), Killed()], ids=["lost", "killed"]
)
def test_postgresql_commits_and_nobody_hears_of_it(sale: StoredSale, error: BaseException) -> None:
    sale.accept(20)
    storage = LossyStorage(sale.dsn)
    storage.after = fail(error)
    with pytest.raises(type(error)):
        sale.worker(storage, batch_size=8).run_once()
    assert Record.objects.count() == 8
    assert len(waiting(sale.client)) == 20
    successor = sale.worker(batch_size=8)
    while successor.run_once():
        pass
    assert (successor.stored, successor.known) == (12, 8)
    all_stored_once(sale, 20)


def test_killed_before_the_commit(sale: StoredSale) -> None:
    sale.accept(5)

    class Dying(Storage):
        def store(self, *args: Any, **options: Any) -> Stored:
            raise Killed

    with pytest.raises(Killed):
        sale.worker(Dying(sale.dsn)).run_once()
    assert (Record.objects.count(), len(waiting(sale.client))) == (0, 5)
    sale.worker().run_once()
    all_stored_once(sale, 5)


def test_another_worker_takes_the_batch_in_between(sale: StoredSale) -> None:
    """It stores and trims what this one has read: this one's trim finds another tail."""
    sale.accept(20)
    storage = LossyStorage(sale.dsn)
    slow, fast = sale.worker(storage, batch_size=8), sale.worker(batch_size=8)

    def overtaken() -> None:
        fast.run_once()
        sale.accept(4)

    storage.after = overtaken
    assert slow.run_once() == 8
    # The 12 that the slow one has not read are there yet, and the 4 that came meanwhile.
    assert len(waiting(sale.client)) == 16
    while slow.run_once():
        pass
    assert slow.stored + fast.stored == 24
    all_stored_once(sale, 24)


def test_two_workers_at_once_while_the_sale_goes_on(sale: StoredSale) -> None:
    workers = [sale.worker(batch_size=7), sale.worker(batch_size=11)]
    selling = threading.Event()
    failures: list[BaseException] = []

    def work(worker: LogWorker) -> None:
        try:
            while worker.run_once() or not selling.is_set():
                pass
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for _ in range(20):
        sale.accept(15, {1001: 1, 1002: 2})
    selling.set()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    assert failures == []
    assert sum(worker.stored for worker in workers) == 600
    all_stored_once(sale, 600)


class TestPoison:
    def changed(self, sale: StoredSale, **members: Any) -> None:
        """Put a record into the list that the script would not write."""
        sale.accept(1)
        newest = json.loads(sale.client.lpop(LANE.list))  # type: ignore[arg-type]
        sale.client.lpush(LANE.list, json.dumps({**newest, **members}))

    def test_what_cannot_be_read_is_parked_and_the_rest_is_stored(self, sale: StoredSale) -> None:
        junk = [b"junk", b"", b"\xff\xfe", b'{"user_id":1}', b"[]", b"x" * 100_000]
        for text in junk:
            sale.accept(1)
            sale.client.lpush(LANE.list, text)
        sale.accept(1)
        worker = sale.worker()
        while worker.run_once():
            pass
        assert (worker.stored, worker.parked) == (7, 6)
        all_stored_once(sale, 7)
        letters = dead()
        assert [bytes(letter.raw) for letter in letters] == junk
        assert "malformed" in letters[0].reason
        assert all(letter.reason for letter in letters)
        assert {letter.kind for letter in letters} == {"unreadable"}

    def test_what_cannot_be_stored_is_parked_and_the_rest_is_stored(self, sale: StoredSale) -> None:
        sale.accept(5)
        self.changed(sale, status="a\0b")
        sale.accept(5)
        self.changed(sale, request_id="x" * 65)
        self.changed(sale, quantity=2**63 - 1)
        self.changed(sale, quantity=2**63 - 1)
        sale.accept(5)
        worker = sale.worker()
        while worker.run_once():
            pass
        reasons = [letter.reason for letter in dead()]
        assert ["0x00" in reasons[0], "too long" in reasons[1], "range" in reasons[2]] == [True] * 3
        assert worker.parked == len(reasons) >= 3
        assert worker.stored == 19 - len(reasons)
        all_stored_once(sale, 19 - len(reasons))

    def test_only_junk(self, sale: StoredSale) -> None:
        sale.client.lpush(LANE.list, *[b"junk"] * 20)
        worker = sale.worker(batch_size=6)
        while worker.run_once():
            pass
        assert worker.parked == len(dead()) == 20
        assert waiting(sale.client) == []

    def test_junk_that_looks_alike_does_not_pass_for_a_batch(self, sale: StoredSale) -> None:
        """A worker that comes too late finds junk at both ends of another batch, as in its own."""

        def lay(records: int) -> None:
            sale.client.lpush(LANE.list, b"junk")
            sale.accept(records)
            sale.client.lpush(LANE.list, b"junk")

        lay(3)
        storage = LossyStorage(sale.dsn)
        slow, fast = sale.worker(storage, batch_size=5), sale.worker(batch_size=5)

        def overtaken() -> None:
            while fast.run_once():
                pass
            lay(3)

        storage.after = overtaken
        slow.run_once()
        while slow.run_once():
            pass
        all_stored_once(sale, 6)
        assert len(dead()) == 4


class TestAway:
    def test_postgresql_away_keeps_everything(self, sale: StoredSale) -> None:
        sale.accept(5)
        records = waiting(sale.client)
        worker = sale.worker(Storage("postgresql://u@127.0.0.1:1/none"))
        for _ in range(3):
            with pytest.raises(PostgresAway):
                worker.run_once()
        assert waiting(sale.client) == records

    def test_redis_away(self, sale: StoredSale) -> None:
        nobody = redis.Redis.from_url("redis://127.0.0.1:1/0", retry=no_retry())
        worker = sale.worker(client=nobody)
        with pytest.raises(RedisAway):
            worker.run_once()
        assert "Redis" in worker.status_line()

    @pytest.mark.direct
    def test_it_goes_on_when_postgresql_is_back(
        self, sale: StoredSale, caplog: pytest.LogCaptureFixture
    ) -> None:
        sale.accept(5)
        worker = sale.worker(interval_s=0.01)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            wait_until(lambda: worker.stored == 5, 20, "the first five are stored")
            cut_all_others(sale.dsn)
            sale.accept(5)
            wait_until(lambda: worker.stored == 10, 20, "five more after the cut")
        finally:
            worker.shutdown.request()
            thread.join(120)
        assert not thread.is_alive()
        all_stored_once(sale, 10)
        messages = [r.getMessage() for r in caplog.records]
        assert any("PostgreSQL is away" in m and "nothing is lost" in m for m in messages)
        assert any("going on" in m for m in messages)

    def test_a_full_redis_is_emptied(self, sale: StoredSale) -> None:
        """PostgreSQL was away for so long that Redis is full: the worker is what makes room."""
        sale.accept(10)
        sale.client.lpush(LANE.list, b"junk")
        sale.client.config_set("maxmemory", 1)
        try:
            worker = sale.worker()
            while worker.run_once():
                pass
        finally:
            sale.client.config_set("maxmemory", 0)
        assert len(dead()) == 1
        all_stored_once(sale, 10)


class TestRun:
    def test_drain_ends_when_nothing_is_left(self, sale: StoredSale) -> None:
        sale.accept(25)
        worker = sale.worker(batch_size=10, interval_s=60)
        worker.run(drain=True)
        all_stored_once(sale, 25)
        assert sale.said == [
            "[log worker] waiting 0 | stored 25 | already stored 0 | parked 0 (in all 0)"
        ]

    def test_a_stop_is_heard_while_idle(self, sale: StoredSale) -> None:
        worker = sale.worker(interval_s=60)
        thread = threading.Thread(target=worker.run)
        thread.start()
        worker.shutdown.request()
        thread.join(120)
        assert not thread.is_alive()

    def test_a_status_line_each_interval(self, sale: StoredSale) -> None:
        worker = sale.worker(status_interval_s=0.01, interval_s=0.01)
        thread = threading.Thread(target=worker.run)
        thread.start()
        wait_until(lambda: len(sale.said) > 3, 20, "status lines")
        worker.shutdown.request()
        thread.join(120)
        assert all(line.startswith("[log worker] waiting 0 | ") for line in sale.said)
