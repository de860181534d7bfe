"""Several hosts in the address of PostgreSQL: every command finds the one that takes writes."""

import os
import signal
import urllib.request

import pytest

from tests.faults.harness import Sale
from tests.faults.opening import OpenSale
from tests.helpers.door import KEYS, RunningDoor
from tests.helpers.pair import Pair
from tests.helpers.servers import free_port

# What names the topic of the sale, too.
OF_A_TOPIC = ("audit", "recover", "report", "dead_letters", "run_events", "run_settler")
COMMANDS = (
    ("run_log_worker", "--drain"),
    ("run_settler", "--drain"),
    ("run_events", "--drain"),
    ("pause",),
    ("resume",),
    ("activity", "set", "1", "--user-limit", "5"),
    ("sync_from_db",),
    ("status", "--once"),
    ("activity", "list"),
    ("lanes",),
    ("dead_letters", "list"),
    ("report", "--output", os.devnull),
    ("recover",),
    ("create_api_key", "somebody"),
    ("audit", "--kafka"),
)


@pytest.fixture
def sale(pair: Pair, environment: dict[str, str], open_sale: OpenSale) -> Sale:
    """A sale on a pair whose standby stands first in the address, and hears nothing any more."""
    pair.lag()
    environment["SECKILL_PG_DSN"] = pair.standby_first
    return open_sale(2)


def test_every_command_finds_the_primary(sale: Sale, pair: Pair) -> None:
    sale.backlog(1_000)
    consumer = sale.consumer("--drain")
    assert consumer.ended(60) == 0
    for command in COMMANDS:
        topic = ("--topic", sale.server.topic) if command[0] in OF_A_TOPIC else ()
        done = sale.start(*command, *topic)
        assert done.ended(60) == 0, (command, done.output)
    port = free_port()
    api = sale.start("run_control_api", "--port", str(port))
    api.wait_for(str(port), 30)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200
    door = RunningDoor(
        sale.manage(
            *("run_door", "--port", "0", "--topic", sale.server.topic),
            SECKILL_BUYER_KEYS=KEYS,
            SECKILL_TICKET_SECRET="a secret of the tickets",
        )
    )
    live = sale.consumer(stock=False)
    assert door.click(user=2**40, wait=25).content["state"] == "accepted"
    assert door.stop().code == 0
    for each in (api, live):
        each.tell(signal.SIGTERM)
        assert each.ended(30) == 0, each.output
    sale.drain_records()
    assert live.count("PostgreSQL is away") == 0
    assert len(pair.first.ask("SELECT 1 FROM seckill_record")) > 1_000
    assert pair.second.ask("SELECT 1 FROM seckill_record") == []
    sale.prove(clicks=1)
