"""Redis lost in the middle of a sale, and rebuilt by the command while everything runs.

An emptied one, and one whose append-only file is of an earlier moment. What PostgreSQL has stays
sold to the same buyers; whoever was decided since is decided once more or not at all.
"""

import shutil
import signal

import pytest

from devstack.stack import Stack
from seckill.audit.audit import audit
from seckill.lane.keys import Lane
from seckill.models import Record
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.faults.harness import Sale


def buyers() -> dict[int, int]:
    """{user: lines} of all that is stored."""
    found: dict[int, int] = {}
    for user in Record.objects.values_list("user_id", flat=True):
        found[user] = found.get(user, 0) + 1
    return found


def rejected(sale: Sale) -> int:
    """Requests decided so far that were not accepted."""
    lane = sale.look()
    return lane.decided - sum(a.success for a in lane.activities.values())


def conclude(sale: Sale, before: dict[int, int]) -> None:
    """All decided and stored, the audit clean, and nobody who had bought has less or more."""
    sale.wait_all_decided()
    sale.wait_all_stored()
    report = audit(sale.redis, Lane())
    assert report.clean, report.findings
    lane = sale.look()
    assert lane.fence is None
    assert lane.decided + lane.skipped + lane.recovered == sale.delivered
    assert lane.skipped == 0
    after = buyers()
    assert {user: after.get(user) for user in before} == before
    # A request of this load has one or two lines; twice sold, it would have more.
    assert max(after.values()) <= 2
    assert len(after) == report.outcomes["ACCEPTED"]


def test_an_emptied_redis_is_rebuilt(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    consumer, log_worker = sale.consumer("--consumers", "2"), sale.log_worker()
    with sale.load(1_500):
        sale.wait_decided(2_000)
        wait_until(lambda: sale.stored() > 500, 30, "some are stored")
        sale.redis.flushall()
        consumer.wait_for("HOLD: NOT_LOADED: .*manage.py recover")
        refused = sale.start("set_stock", "1001:5")
        assert refused.ended() == 1
        assert "manage.py recover shows the plan" in refused.output
        before = buyers()
        topic = ("--topic", sale.server.topic)
        plan = sale.start("recover", *topic)
        assert plan.ended() == 0
        assert "Nothing was changed" in plan.output
        assert not sale.look().loaded
        done = sale.start("recover", *topic, "--apply")
        assert done.ended() == 0, done.output
        assert "the sale goes on" in done.output
        consumer.wait_for("the lane was rebuilt")
        sale.wait_decided(sale.decided() + 2_000)
    conclude(sale, before)
    stop(consumer, log_worker)


def test_an_append_only_file_of_before_is_noticed_and_rebuilt(
    sale: Sale, running_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    consumer, log_worker = sale.consumer(), sale.log_worker()
    data = running_stack.folder / "valkey" / "data"
    copy = tmp_path_factory.mktemp("copy") / "data"
    with sale.load(1_500):
        sale.wait_decided(1_500)
        shutil.copytree(data, copy)
        # One that left no record, and records after it: what only the lost part of Redis knew.
        forgotten = rejected(sale)
        wait_until(lambda: rejected(sale) > forgotten, 30, "one is rejected after the copy")
        decided = sale.decided()
        wait_until(lambda: sale.stored() > decided + 1_000, 30, "PostgreSQL is ahead")
        sale.kill("valkey")
        consumer.wait_for("HOLD: Redis is away")
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        sale.revive("valkey")
        # Found with the new connection, before anything is decided on the old stock.
        consumer.wait_for("HOLD: (REWOUND|FENCED)")
        before = buyers()
        assert sale.look().fence is not None
        topic = ("--topic", sale.server.topic)
        done = sale.start("recover", *topic, "--apply")
        assert done.ended() == 0, done.output
        sale.wait_decided(sale.decided() + 2_000)
    conclude(sale, before)
    assert sale.look().recovered > 0
    stop(consumer, log_worker)


def test_killed_in_a_recovery_it_is_run_again(sale: Sale) -> None:
    sale.backlog(3_000)
    assert sale.consumer("--drain").ended(40) == 0
    sale.drain_records()
    before = buyers()
    sale.redis.flushall()
    topic = ("--topic", sale.server.topic)
    first = sale.start("recover", *topic, "--apply")
    first.wait_for("fenced: nothing is decided")
    first.tell(signal.SIGKILL)
    first.ended()
    assert sale.start("recover", *topic, "--apply").ended() == 0
    # Whoever comes now is told where to go on.
    assert sale.consumer("--drain", stock=False).ended(40) == 0
    assert sale.log_worker("--drain").ended(40) == 0
    conclude(sale, before)
