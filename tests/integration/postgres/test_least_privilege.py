"""A whole sale with the rights of `seckill.config.rights`, and not one more."""

import os
import signal
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.config.rights import REDIS
from seckill.consumer.engine import Engine
from seckill.lane.client import connect
from seckill.lane.held import look_through, units_by_item
from seckill.lane.keys import Lane
from seckill.monitoring.fitness import missing_rights
from tests.conftest import Manage
from tests.faults.harness import Sale
from tests.faults.opening import OpenSale
from tests.helpers.door import KEYS, RunningDoor
from tests.helpers.sale import batch, body, put_on_sale
from tests.helpers.servers import free_port
from tests.helpers.settling import cancelled, expire, make_due, settle

PASSWORD = "hunter2"
ACTS = (
    ("add_stock", "1001:10"),
    ("pause",),
    ("resume",),
    ("activity", "set", "1", "--user-limit", "5"),
    ("finish",),
    ("reopen",),
    ("sync_from_db",),
    ("set_stock", "1003:10", "--activity-id", "2"),
)
LOOKS = (
    ("status", "--once"),
    ("audit", "--kafka"),
    ("activity", "list"),
    ("dead_letters", "list"),
    ("report", "--output", os.devnull),
    ("recover",),
)


@pytest.fixture
def redis_url(redis_client: "redis.Redis", stack: Endpoints) -> Iterator[str]:
    """The address of the user that the document makes."""
    name, rules = "seckill", REDIS["seckill"]
    redis_client.execute_command(
        "ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *rules.split()
    )
    redis_client.acl_log_reset()
    host = redis_client.get_connection_kwargs()
    yield f"redis://{name}:{PASSWORD}@{host['host']}:{host['port']}/0"
    redis_client.acl_deluser(name)


@pytest.fixture
def sale(
    redis_url: str,
    role_dsn: str,
    environment: dict[str, str],
    open_sale: OpenSale,
) -> Sale:
    """A sale whose commands have these rights alone."""
    environment |= {"SECKILL_REDIS_URL": redis_url, "SECKILL_PG_DSN": role_dsn}
    return open_sale(2)


def run(sale: Sale, *arguments: str) -> str:
    """A command that has to do what it was asked for."""
    extra = (
        ()
        if arguments[0] not in ("audit", "recover", "report", "dead_letters")
        else ("--topic", sale.server.topic)
    )
    command = sale.start(*arguments, *extra)
    assert command.ended(60) == 0, command.output
    return command.output


def read(port: int, path: str) -> bytes:
    """What it answers with 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
        return bytes(answer.read())


def test_the_rights_of_the_document_are_enough_for_holds(
    redis_client: "redis.Redis", redis_url: str
) -> None:
    put_on_sale(redis_client, {1001: 9}, hold_s=60)
    narrow = connect(redis_url)
    engine = Engine(redis_url, Lane())
    engine.decide([batch([body(1), body(2)])])
    engine.close()
    assert missing_rights(narrow, Lane()) == []
    # Byte by byte, from the board too: given back, and once more.
    assert settle(narrow, cancelled(0), cancelled(0)) == ["RELEASED", "REPEATED"]
    # What the inventory and the audit read.
    assert units_by_item(narrow, Lane(), 1) == {1001: 1}
    assert look_through(narrow, Lane(), 1) == (1, "")
    make_due(redis_client)
    assert expire(narrow).expired == 1
    narrow.close()


@pytest.mark.direct
def test_the_rights_of_the_document_are_enough(
    sale: Sale, redis_client: "redis.Redis", manage: Manage
) -> None:
    sale.backlog(2_000)
    consumer = sale.consumer("--drain")
    assert consumer.ended(60) == 0
    for act in ACTS[:4]:
        run(sale, *act)
    sale.backlog(1_000)
    # A limit is set, so buyers are counted; a worker that goes on, with its metrics.
    metrics = free_port()
    live = sale.consumer("--metrics-port", str(metrics), stock=False)
    worker = sale.log_worker()
    sale.wait_all_decided()
    sale.wait_all_stored()
    door = RunningDoor(
        manage(
            *("run_door", "--port", "0", "--topic", sale.server.topic),
            SECKILL_BUYER_KEYS=KEYS,
            SECKILL_TICKET_SECRET="a secret of the tickets",
        )
    )
    assert door.click(user=2**40, wait=25).content["state"] == "accepted"
    assert door.click(user=2**40, activity=1, items={99: 1}, wait=25).content["state"] == "refused"
    assert door.stop().code == 0
    for act in ACTS[4:]:
        run(sale, *act)
    for look in LOOKS:
        run(sale, *look)
    assert b"seckill_requests_total" in read(metrics, "metrics")
    # A loss, and the way back.
    redis_client.flushall()
    sale.backlog(500)
    live.wait_for("HOLD")
    run(sale, "recover", "--apply")
    sale.wait_all_decided()
    sale.wait_all_stored()
    port = free_port()
    api = sale.start("run_control_api", "--port", str(port))
    api.wait_for(str(port), 30)
    assert b"decide" in read(port, "readyz")
    for each in (live, worker, api):
        each.tell(signal.SIGTERM)
        assert each.ended(30) == 0, each.output
    # Whether it writes to its disk is asked for, and done without.
    assert {entry["object"] for entry in redis_client.acl_log()} == {"config|get"}
    assert audit(redis_client, Lane()).clean
