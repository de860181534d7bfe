"""What a publisher and webhooks show of themselves, and the rights that a publisher needs."""

from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest

from seckill.audit.audit import audit
from seckill.config.sections import Server
from seckill.lane.keys import Lane
from seckill.monitoring.metrics import LaneCollector
from seckill.telemetry.heartbeats import BEHIND, GONE_S, Heart, Kind, worker_id
from tests.helpers.publishing import Published
from tests.helpers.sale import put_on_sale

ROLE = "seckill_events_test"


def test_metrics(redis_client: "redis.Redis", server: Server) -> None:
    put_on_sale(redis_client, {1001: 1})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LaneCollector({Lane(): redis_client}))
    publisher = Heart(server.redis_url, Lane(), Kind.PUBLISHER)
    publisher.beat(3, "", published=3, **{BEHIND: 7})
    who = f'kind="event publisher",lane="main",worker="{worker_id()}"'

    def shown() -> str:
        return generate_latest(registry).decode()

    assert f"seckill_events_behind{{{who}}} 7.0" in shown()
    done = who.replace(",worker", ',what="published",worker')
    assert f"seckill_worker_done_total{{{done}}} 3.0" in shown()
    assert 'what="behind"' not in shown()
    redis_client.zincrby(Lane().beats, -2000 * GONE_S, worker_id())
    assert "seckill_events_behind{" not in shown()
    publisher.close()
    # Kafka did not say how many wait.
    webhooks = Heart(server.redis_url, Lane(), Kind.WEBHOOKS)
    webhooks.beat(1, "webhook shop: status 500", delivered=1, failed=2, dead=0, **{BEHIND: -1})
    assert "seckill_events_behind{" not in shown()
    assert 'seckill_worker_holding{kind="webhooks"' in shown()
    webhooks.close()


def test_the_audit_finds_a_cursor_ahead_of_the_ids(
    sale: Published, redis_client: "redis.Redis", pg_dsn: str
) -> None:
    """As after rows were restored without their sequence."""

    def found() -> list[str]:
        report = audit(redis_client, Lane())
        return [f.culprit for f in report.findings if "cursor" in f.culprit]

    sale.buy(1, 2)
    sale.store()
    sale.publish()
    assert found() == []
    with psycopg.connect(pg_dsn, autocommit=True) as owner:
        row = owner.execute("SELECT nextval('seckill_record_id_seq')").fetchone()
        assert row is not None
        owner.execute("SELECT setval('seckill_record_id_seq', 1)")
        assert found() == [
            f"topic {sale.topic}: the cursor of its events is ahead of the ids of rows to come"
        ]
        # What it advises.
        owner.execute("SELECT setval('seckill_record_id_seq', record_id) FROM seckill_eventcursor")
    assert found() == []
    sale.buy(3)
    sale.store()
    assert sale.publish() == 1


@pytest.mark.direct
def test_the_rights_of_the_document_are_enough(sale: Published, pg_dsn: str) -> None:
    sale.buy(1, 2)
    sale.store()
    with psycopg.connect(pg_dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'hunter2'")
        try:
            for rights in (
                "USAGE ON SCHEMA public",
                "SELECT ON seckill_record, seckill_settlement, seckill_latepayment",
                "SELECT ON seckill_activity",
                "SELECT, INSERT, UPDATE ON seckill_eventcursor",
            ):
                owner.execute(f"GRANT {rights} TO {ROLE}")
            parts = urlsplit(pg_dsn)
            place = f"{ROLE}:hunter2@{parts.hostname}:{parts.port}"
            sale.dsn = parts._replace(netloc=place).geturl()
            assert sale.publish() == 2
        finally:
            owner.execute(f"DROP OWNED BY {ROLE}")
            owner.execute(f"DROP ROLE {ROLE}")


def test_a_transaction_that_writes_no_order_holds_up_nothing(sale: Published, pg_dsn: str) -> None:
    """An audit of millions of rows makes temporary tables, and takes its time."""
    sale.buy(1, 2)
    sale.store()
    with psycopg.connect(pg_dsn) as other:
        other.execute("CREATE TEMPORARY TABLE mine (id int) ON COMMIT DROP")
        other.execute("SELECT count(*) FROM seckill_record")
        assert sale.publish() == 2
