"""Two masters: a replica is promoted while a consumer and a log worker still reach the master of
before.

Two real Valkeys, one of them a replica of the other. Never is more sold than there is: not in
PostgreSQL, and not by what buyers were told, as long as PostgreSQL answers those who decide.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.audit.checks import FOUNDATIONS, NEVER_LOST
from seckill.broker import Position
from seckill.consumer import lease_keeper
from seckill.consumer.engine import Engine, Status
from seckill.consumer.guard import Guard
from seckill.control.control import Control
from seckill.dead_letters.records import Kind
from seckill.errors import Fenced, PostgresAway
from seckill.formats.outcomes import Outcome
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import DeadRecord, Lease, Record
from seckill.models import Lane as LaneRow
from seckill.postgres.lease import NotLeading
from seckill.process.shutdown import Shutdown
from seckill.recovery.rebuild import recover
from tests.conftest import wait_until
from tests.helpers.sale import SOURCE, batch, body
from tests.helpers.servers import own_valkey, promote

LANE = Lane()
AWAY = "postgresql://nobody@127.0.0.1:1/none"


class Side:
    """One Redis, with a consumer's engine and a log worker that reach it."""

    def __init__(self, url: str, dsn: str, name: str, commits: dict[int, Position]) -> None:
        self.url, self.client = url, connect(url)
        self.guard = Guard(self.client, LANE, dsn, lambda: SOURCE, lambda: dict(commits), name)
        self.engine = Engine(url, LANE, guard=self.guard)
        self.storage = Storage(dsn)
        self.worker = LogWorker(self.client, self.storage, Shutdown())
        self.commits = commits

    def buy(self, start: int, count: int, partition: int) -> int:
        """How many of so many requests are accepted. Raises NotLeading."""
        values = [body(1 + partition * 1000 + start + n) for n in range(count)]
        [reply] = self.engine.decide([batch(values, start, partition=partition)])
        return reply.count(Outcome.ACCEPTED)

    def commit(self, partition: int, offset: int) -> None:
        """What the consumer of this side does half a second later."""
        self.commits[partition] = Position(offset, 0, SOURCE, self.engine.claim.term)

    def store(self) -> None:
        while self.worker.run_once():
            pass

    def close(self) -> None:
        self.guard.close()
        self.engine.close()
        self.storage.close()
        self.client.close()


@pytest.fixture
def commits() -> dict[int, Position]:
    """The group's commits in Kafka, by partition."""
    return {}


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A master and its replica."""
    with own_valkey(tmp_path) as first, own_valkey(tmp_path, replica_of=first) as second:
        yield first, second


@pytest.fixture
def sides(
    urls: tuple[str, str], pg_dsn: str, commits: dict[int, Position], stack: Endpoints
) -> Iterator[list[Side]]:
    """A hundred units on sale on the master, twenty sold and stored, all of it at the replica
    too.
    """
    made = [Side(urls[0], pg_dsn, "consumer-a", commits)]
    Control(made[0].client, "olga", LANE).set_stock(1, {1001: 100})
    assert made[0].buy(0, 20, 0) == 20
    made[0].commit(0, 20)
    made[0].store()
    made.append(Side(urls[1], pg_dsn, "consumer-b", commits))
    replica = made[1].client
    wait_until(lambda: synced(made), 30, "in step")
    promote(replica)
    yield made
    for side in made:
        side.close()


def synced(sides: list[Side]) -> bool:
    """Whether both hold the same."""
    seen = [read_lane(side.client, LANE) for side in sides]
    return all((lane.positions, lane.waiting) == (seen[0].positions, 0) for lane in seen)


def test_the_one_that_was_promoted_waits_for_the_lease_of_the_other(sides: list[Side]) -> None:
    old, new = sides
    assert old.buy(20, 30, 0) == 30
    with pytest.raises(NotLeading, match="consumer-a"):
        new.buy(0, 80, 1)
    assert read_lane(new.client, LANE).positions == {f"{SOURCE}:0": 20}
    with pytest.raises(Fenced, match="another Redis leads"):
        Control(new.client, "olga", LANE).add_stock(1, {1001: 1})
    # The old one goes on, and nothing is wrong.
    old.store()
    assert audit(old.client, LANE).clean
    findings = audit(new.client, LANE).findings
    assert FOUNDATIONS in {f.invariant for f in findings}


def test_a_takeover_ends_the_deciding_of_the_one_before(
    sides: list[Side], commits: dict[int, Position]
) -> None:
    """Its consumer is frozen for longer than its lease; then it wakes up, and must not decide."""
    old, new = sides
    assert old.buy(20, 30, 0) == 30
    frozen = old.guard._keeper._turn
    frozen.acquire()
    Lease.objects.filter(holder="consumer-a").update(until="2020-01-01T00:00:00Z")
    # What the old one decided after the promotion is on no list of the new one, and was committed.
    old.commit(0, 50)
    new.buy(0, 1, 1)
    assert read_lane(new.client, LANE).fence is not None
    frozen.release()
    old.guard._keeper.run_once()
    with pytest.raises(NotLeading):
        old.buy(50, 30, 0)


def test_in_an_overlap_nothing_is_oversold_in_postgresql_and_each_order_is_named(
    sides: list[Side],
    commits: dict[int, Position],
    pg_dsn: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The one consumer that is cut off from PostgreSQL alone decides on, for as long as it may."""
    old, new = sides
    old.guard._keeper._pg_dsn = AWAY
    connection, old.guard._keeper._connection = old.guard._keeper._connection, None
    assert connection is not None
    connection.close()
    Lease.objects.all().delete()
    assert new.buy(0, 80, 1) == 80
    assert old.buy(20, 80, 0) == 80
    new.store()
    assert Record.objects.count() == 100
    # 180 of 100 were told yes; the log worker of the old one stores none of them, and says so.
    for _ in range(2):
        with pytest.raises(NotLeading):
            old.worker.run_once()
    told = [entry.args for entry in caplog.records if "another Redis leads" in entry.msg]
    assert told == [(old.client.llen(LANE.list),)]
    assert Record.objects.count() == 100
    named = DeadRecord.objects.filter(kind=Kind.OVERLAP)
    assert sorted(named.values_list("offset", flat=True)) == list(range(20, 100))
    report = audit(new.client, LANE)
    assert {f.invariant for f in report.findings} == {NEVER_LOST}
    assert report.findings[0].culprit == "80 orders"
    # The group's commits tell even a consumer without PostgreSQL that another one leads.
    new.commit(1, 80)
    old.guard._keeper.run_once()
    with pytest.raises(NotLeading, match="committed partition 1 in term"):
        old.buy(100, 1, 0)
    # A person has told the buyers.
    DeadRecord.objects.filter(kind=Kind.OVERLAP).update(dismissed_at="2026-01-01T00:00:00Z")
    assert audit(new.client, LANE).clean


def test_a_takeover_after_a_stop_is_at_once(sides: list[Side]) -> None:
    """Whoever ends gives its lease up."""
    old, new = sides
    old.guard.close()
    assert new.buy(0, 80, 1) == 80
    assert read_lane(new.client, LANE).term == 2
    assert read_lane(old.client, LANE).term == 1


def test_a_restart_of_redis_is_a_new_term_and_costs_no_wait(
    redis_client: "redis.Redis", stack: Endpoints, pg_dsn: str, commits: dict[int, Position]
) -> None:
    """Each of its consumers has left the process of before, and gives its lease there up."""
    Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
    one, two = (Side(stack.redis_url, pg_dsn, f"consumer-{n}", commits) for n in (1, 2))
    assert (one.buy(0, 1, 0), two.buy(0, 1, 1)) == (1, 1)
    # As after a start: the process has another id than the one that their leases name.
    Lease.objects.update(master="the process of before")
    LaneRow.objects.update(master="the process of before")
    for side in (one, two):
        side.engine.close()
    with pytest.raises(NotLeading):
        one.buy(1, 1, 0)
    assert two.buy(1, 1, 1) == 1
    assert one.buy(1, 1, 0) == 1
    assert read_lane(redis_client, LANE).term == 2
    one.store()
    assert Record.objects.count() == 4
    for side in (one, two):
        side.close()


def test_a_log_worker_alone_stores_from_a_redis_that_has_started_again(
    redis_client: "redis.Redis", stack: Endpoints, pg_dsn: str, commits: dict[int, Position]
) -> None:
    Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
    side = Side(stack.redis_url, pg_dsn, "consumer-a", commits)
    side.buy(0, 5, 0)
    side.guard.close()
    LaneRow.objects.update(master="the process of before")
    side.store()
    assert Record.objects.count() == 5
    side.close()


def test_an_old_master_does_not_come_back_by_itself(sides: list[Side]) -> None:
    """Its consumer was stopped, and wakes up when nobody decides on the new one any more: neither
    it nor its log worker leads again with what was sold elsewhere since.
    """
    old, new = sides
    assert old.buy(20, 30, 0) == 30
    Lease.objects.all().delete()
    assert new.buy(0, 80, 1) == 80
    new.commit(1, 80)
    new.store()
    new.guard.close()
    old.guard._keeper.run_once()
    assert "old master" in old.guard.problem
    with pytest.raises(NotLeading, match="old master"):
        old.store()
    assert DeadRecord.objects.filter(kind=Kind.OVERLAP).count() == 30
    with pytest.raises(NotLeading):
        old.buy(50, 1, 0)
    [reply] = old.engine.decide([batch([body(1)], 50)])
    assert (reply.status, "REWOUND" in reply.why) == (Status.FENCED, True)
    assert Record.objects.count() == 100


def test_an_old_master_does_not_lead_beside_a_postgresql_from_before_the_takeover(
    sides: list[Side],
) -> None:
    """PostgreSQL knows nothing of the later term, and by its offsets the old master is ahead."""
    old, new = sides
    [before] = LaneRow.objects.values()
    assert old.buy(20, 30, 0) == 30
    Lease.objects.all().delete()
    assert new.buy(20, 5, 0) == 5
    new.commit(0, 25)
    new.store()
    # A copy from before comes back.
    Record.objects.filter(offset__gte=20).delete()
    LaneRow.objects.update(**before)
    Lease.objects.all().delete()
    old.engine.close()
    [reply] = old.engine.decide([batch([body(1)], 50)])
    assert (reply.status, "committed partition 0 in term 2" in reply.why) == (Status.FENCED, True)
    # The one that leads goes on, and says what PostgreSQL has lost.
    new.engine.close()
    assert new.buy(25, 1, 0) == 1
    with pytest.raises(PostgresAway, match="older"):
        new.store()
    assert audit(new.client, LANE).findings


def test_nobody_takes_over_while_records_of_the_one_before_are_being_stored(
    sides: list[Side], pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log worker is slow, or stopped, in its transaction: PostgreSQL is not away for that."""
    monkeypatch.setattr(lease_keeper, "ANSWER_S", 1)
    old, new = sides
    assert old.buy(20, 30, 0) == 30
    old.guard.close()
    with psycopg.connect(pg_dsn) as storing:
        storing.execute("SELECT 1 FROM seckill_lane FOR SHARE")
        with pytest.raises(NotLeading, match="is being stored"):
            new.buy(0, 80, 1)
    assert read_lane(new.client, LANE).positions == {f"{SOURCE}:0": 20}
    assert new.buy(0, 80, 1) == 80


def test_a_consumer_of_an_empty_redis_holds_up_no_recovery(sides: list[Side], pg_dsn: str) -> None:
    """Its address leads to a Redis that came back with nothing: nobody decides on the one
    before.
    """
    old, new = sides
    assert old.buy(20, 10, 0) == 10
    old.store()
    new.client.flushall()
    old.guard._client = new.client
    engine = Engine(new.url, LANE, guard=old.guard)
    assert engine.decide([batch([body(1)], 0, partition=1)])[0].status is Status.NOT_LOADED
    old.guard._keeper.run_once()
    assert not Lease.objects.exists()
    assert recover(new.client, LANE, SOURCE, [0, 1], "test", lambda line: None).lifted
    again = batch([body(1)], 0, partition=1)
    again.generation = read_lane(new.client, LANE).generation
    assert engine.decide([again])[0].count(Outcome.ACCEPTED) == 1
    engine.close()


def test_without_postgresql_the_sale_goes_on(
    redis_client: "redis.Redis", stack: Endpoints, pg_dsn: str, commits: dict[int, Position],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
    side = Side(stack.redis_url, AWAY, "consumer-a", commits)
    assert side.buy(0, 1, 0) == 1
    side.guard._keeper.run_once()
    assert side.buy(1, 1, 0) == 1
    assert "the sale goes on" in caplog.text
    side.close()


def test_the_lease_is_renewed_on_a_thread(
    redis_client: "redis.Redis", stack: Endpoints, pg_dsn: str, commits: dict[int, Position],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(lease_keeper, "RENEW_S", 0.05)
    Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
    side = Side(stack.redis_url, pg_dsn, "consumer-a", commits)
    side.buy(0, 1, 0)
    first = Lease.objects.get().until
    wait_until(lambda: Lease.objects.get().until > first, 30, "it is renewed")
    side.close()
    assert not Lease.objects.exists()
