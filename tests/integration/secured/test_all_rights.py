"""A whole sale, each command with the rights that `seckill.config.rights` gives it, and no more."""

import hashlib
import json
import os
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from seckill.broker.opening import open_producer
from seckill.broker.security import confluent_options
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.rights import KAFKA
from seckill.config.sections import DEFAULT_GROUP, DEFAULT_TOPIC, Client, Server
from seckill.consumer.batch import encode
from seckill.dead_letters.writer import DeadLetters, dead_topic
from seckill.formats import settle
from seckill.formats.settle import Result, Settlement
from seckill.lane.client import connect
from seckill.settler.batch import encode as encode_settlements
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.helpers.door import KEYS, TICKET_SECRET, RunningDoor
from tests.helpers.receiver import SECRET, Receiver
from tests.helpers.sale import SOURCE, body, now_ms
from tests.helpers.secured import SecuredSale, inside_of, secrets_of

PAYMENT_KEY = "a key of the shop's server"
DOOR = {
    "SECKILL_BUYER_KEYS": KEYS,
    "SECKILL_TICKET_SECRET": TICKET_SECRET,
    "SECKILL_PAYMENT_KEYS": f"shop:{hashlib.sha256(PAYMENT_KEY.encode()).hexdigest()}",
}
BUYERS = 300
# What happens in no sale of a minute: letters that are too long to park are read where they came
# from, and `recover --from-kafka` reads settlements that PostgreSQL has lost.
SELDOM = {
    ("replay", "READ", "{topic}"),
    ("replay", "READ", "{topic}.settle"),
    ("operator", "READ", "{topic}.settle"),
}
QUICK = ("--status-interval", "0.5")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The shop's, which takes nothing at first."""
    receiver = Receiver(answer=lambda event, times: (500, {}))
    yield receiver
    receiver.close()


def send_broken(secured: SecuredSale, topic: str) -> None:
    """A message that is no request and no settlement, with the rights of a sender."""
    sender = load(Client, environ=secured.environment("run_door"))
    producer = Producer(confluent_options(sender))
    producer.produce(topic, b'{"user_id": 1, "items": ')
    assert producer.flush(30) == 0
    producer.close()


def park(secured: SecuredSale) -> None:
    """A request and a settlement that are valid, as if today's decoder were another one."""
    server = load(Server, environ=secured.environment("run_consumer"))
    requests = encode(SOURCE, 0, 0, [0], [b"{"])
    requests.invalid = [i.__class__(i.offset, body(9), "old") for i in requests.invalid]
    told = settle.encode(Settlement(1, 9, (SOURCE, 0, 0), Result.PAID, now_ms(), "pi_9"))
    settlements = encode_settlements(SOURCE, 0, 0, [0], [b"{"])
    settlements.invalid = [i.__class__(i.offset, told, "old") for i in settlements.invalid]
    settler = load(Server, environ=secured.environment("run_settler")).model_copy(
        update={"topic": settle.settle_topic(DEFAULT_TOPIC)}
    )
    for section, batch in ((server, requests), (settler, settlements)):
        letters = DeadLetters(section, lambda s=section: open_producer(s, dead_topic(s.topic)))  # type: ignore[misc]
        letters.park(batch)
        assert letters.flush()
        letters.close()


def click_and_pay(secured: SecuredSale) -> None:
    """A buyer at the door, whose hold the shop says is paid."""
    door = RunningDoor(secured.process("run_door", "--port", "0", **DOOR))
    ticket = door.click(user=2**40, wait=25).content["ticket"]
    headers = {"Authorization": f"Bearer {PAYMENT_KEY}", "Content-Type": "application/json"}
    result = json.dumps({"result": "paid", "reference": "pi_1"})

    def taken() -> bool:
        path = f"/v1/tickets/{ticket}/payment"
        return door.ask("POST", path, result, headers).status in (200, 202)

    wait_until(taken, 20, "the settlement is taken")
    assert door.stop().code == 0


def workers(secured: SecuredSale) -> tuple[Command, Command, Command, Command]:
    """Consumer, settler, log worker, events: each client is one of them."""
    return (
        secured.start("run_consumer", "--kafka-client", "confluent-kafka", *QUICK),
        secured.start("run_settler", *QUICK),
        secured.start("run_log_worker", *QUICK),
        secured.start("run_events"),
    )


def webhooks(secured: SecuredSale, receiver: Receiver) -> None:
    """Events that a shop does not take become dead letters, which it takes later."""
    shop = {
        "SECKILL_WEBHOOKS_URLS": f"shop={receiver.url}",
        "SECKILL_WEBHOOKS_SECRETS": f"shop:{SECRET}",
    }
    secured.run("run_webhooks", "--drain", "--give-up-s", "0", **shop)
    receiver.answer = lambda event, times: (204, {})
    assert not receiver.taken
    assert "run_webhooks --dead-letters" in secured.run("dead_letters", "list")
    secured.run("run_webhooks", "--dead-letters", **shop)
    assert receiver.taken


def test_a_whole_sale(secured: SecuredSale, receiver: Receiver) -> None:
    with Topics(inside_of(secured.stack), 30) as topics:
        # Other tests sent to it.
        topics.delete(DEFAULT_TOPIC)
    with secured.owner_of_redis() as owner:
        owner.acl_log_reset()
    secured.run("activity", "create", "--name", "secured", "--stock", "1001:5000", "--hold", "600")
    consumer, settler, log_worker, events = workers(secured)
    consumer.wait_for("deciding", 60)
    secured.run("run_loadgen", "--user-count", f"{BUYERS}", "--rate", "5000", "--quiet")
    settler.wait_for("settling", 60)
    click_and_pay(secured)
    send_broken(secured, DEFAULT_TOPIC)
    send_broken(secured, settle.settle_topic(DEFAULT_TOPIC))
    consumer.wait_for("invalid 1", 30)
    settler.wait_for("invalid 1", 30)
    park(secured)
    for kind in ("--requests", "--settlements"):
        assert "replayed 1" in secured.run("dead_letters", "replay", kind, "--yes")
    consumer.wait_for(rf"decided {BUYERS + 3} .*waiting for PostgreSQL 0", 30)
    settler.wait_for(r"settled 3 ", 30)
    assert "audit: clean" in secured.run("audit", "--kafka")
    secured.run("report", "--output", os.devnull)
    stop(events)
    secured.run("run_events", "--drain")
    webhooks(secured, receiver)
    assert not any(
        secret in text for secret in secrets_of(secured.stack) for text in secured.shown()
    )
    # A loss, and the way back.
    client = connect(secured.endpoints("recover").redis_url)
    client.unlink(*client.scan_iter(match="*seckill:logs*"))
    client.close()
    secured.run("run_loadgen", "--user-count", "50", "--rate", "5000", "--quiet")
    consumer.wait_for("HOLD", 30)
    secured.run("recover", "--apply", "--from-kafka")
    consumer.wait_for("going on", 30)
    stop(consumer, settler, log_worker)
    assert "audit: clean" in secured.run("audit", "--kafka")
    each_right_was_used_and_none_was_missed(secured)


def each_right_was_used_and_none_was_missed(secured: SecuredSale) -> None:
    """By what Kafka itself says that it looked at."""
    judged = secured.judged()
    assert {found for found in judged if found[0] == "Denied"} == set()
    assert secured.denied_by_redis() == []
    used = {(user, kind, name, verb) for _, user, kind, name, verb in judged}
    for user, rights in KAFKA.items():
        for right in rights:
            name = right.named(DEFAULT_TOPIC, DEFAULT_GROUP).replace("*", "shop")
            for verb in () if right.makes else right.verbs:
                if (user, verb, right.name) in SELDOM:
                    continue
                assert (user, right.kind, name, verb) in used, (user, name, verb)
