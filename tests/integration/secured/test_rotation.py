"""Every key and certificate is changed while one sale runs, by the steps of `docs/security.md`."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import psycopg
import pytest
from confluent_kafka import Producer
from kafka.admin import (
    ACL,
    KafkaAdminClient,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from psycopg import sql

from devstack import certificates, kafka_users
from devstack.endpoints import SASL_MECHANISM
from devstack.stack import Stack
from devstack.state import State
from seckill.broker.opening import open_producer
from seckill.broker.security import confluent_options, kafka_python_options
from seckill.config.layers import load
from seckill.config.rights import COMMANDS, POSTGRES, REDIS
from seckill.config.sections import DEFAULT_TOPIC, Client
from seckill.errors import BrokerRefuses, RedisRefuses
from seckill.lane.client import connect, ping
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from tests.conftest import wait_until
from tests.faults.command import Command, stop
from tests.helpers.door import KEYS, SECRET, TICKET_SECRET, RunningDoor, Told, token_of
from tests.helpers.sale import body
from tests.helpers.secured import SecuredSale, inside_of

OLD_PAYMENT, NEW_PAYMENT = "the shop's old key", "the shop's new key"
NEW_SECRET = "another secret of the tests: 32 characters"
NEW = "7e57" * 8
QUICK = ("--status-interval", "0.5")
WORKERS = {
    "run_consumer": ("deciding", QUICK),
    "run_settler": ("settling", QUICK),
    "run_log_worker": ("log worker", QUICK),
}
# Users of Kafka that get a successor.
RENEWED = ("consumer", "door", "settler")
BUYER = itertools.count(1)


def digest(name: str, key: str) -> str:
    """A payment key as the door is told it."""
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


OLD_KEYS = {
    "SECKILL_BUYER_KEYS": KEYS,
    "SECKILL_TICKET_SECRET": f"1:{TICKET_SECRET}",
    "SECKILL_PAYMENT_KEYS": digest("old", OLD_PAYMENT),
}
# The first signs, all are accepted.
BOTH_KEYS = {
    "SECKILL_BUYER_KEYS": f"new:{NEW_SECRET},{KEYS}",
    "SECKILL_TICKET_SECRET": f"2:{TICKET_SECRET[::-1]},1:{TICKET_SECRET}",
    "SECKILL_PAYMENT_KEYS": f"{digest('new', NEW_PAYMENT)},{digest('old', OLD_PAYMENT)}",
}
NEW_KEYS = {
    "SECKILL_BUYER_KEYS": f"new:{NEW_SECRET}",
    "SECKILL_TICKET_SECRET": f"2:{TICKET_SECRET[::-1]}",
    "SECKILL_PAYMENT_KEYS": digest("new", NEW_PAYMENT),
}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Services of its own: other tests need the old keys."""
    stack = Stack(tmp_path / "services")
    stack.up(owner_pid=os.getpid(), secured=True)
    yield stack
    stack.remove()


@pytest.fixture
def sale(stack: Stack, tmp_path: Path) -> Iterator[SecuredSale]:
    """Commands on it."""
    sale = SecuredSale(stack, tmp_path)
    yield sale
    sale.close()


class Buyers(threading.Thread):
    """Send requests until they are told to stop."""

    def __init__(self, section: Client) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({**confluent_options(section), "log_level": 0})
        self._told = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """See Thread."""
        while not self._told.wait(0.02):
            self._producer.produce(DEFAULT_TOPIC, body(2_000_000 + next(BUYER)))
            self.sent += 1
        assert self._producer.flush(60) == 0
        self._producer.close()

    def end(self) -> int:
        """How many requests they have sent."""
        self._told.set()
        self.join()
        return self.sent


class Workers:
    """One of each, restarted one after the other with what is valid now."""

    def __init__(self, sale: SecuredSale) -> None:
        self._sale = sale
        self.running: dict[str, Command] = {}
        self.door: RunningDoor | None = None

    def restart(self, keys: dict[str, str], ca: Path | None = None) -> None:
        """As an operator does, service by service. With `ca` as new users, who know it."""
        for name, (said, flags) in WORKERS.items():
            if name in self.running:
                stop(self.running.pop(name))
            self.running[name] = self._sale.start(name, *flags, **renewed(self._sale, name, ca))
            self.running[name].wait_for(said, 60)
        if self.door is not None:
            assert self.door.stop().code == 0
        variables = {**renewed(self._sale, "run_door", ca), **keys}
        self.door = RunningDoor(self._sale.process("run_door", "--port", "0", **variables))


def renewed(sale: SecuredSale, command: str, ca: Path | None) -> dict[str, str]:
    """What a command is given of the new users and passwords; {} without `ca`."""
    if ca is None:
        return {}
    known, users = sale.endpoints(command), COMMANDS[command]
    found = {
        "SECKILL_REDIS_URL": with_user(known.redis_url, str(users.redis)),
        "SECKILL_PG_DSN": with_user(known.pg_dsn, f"{users.postgres}_2"),
        "SECKILL_SSL_CAFILE": str(ca),
    }
    if users.kafka in RENEWED:
        found |= {"SECKILL_SASL_USERNAME": f"{users.kafka}-2", "SECKILL_SASL_PASSWORD": NEW}
    return found


def test_a_sale_goes_on(sale: SecuredSale, tmp_path: Path) -> None:
    known = sale.endpoints("run_consumer")
    old_ca, both, new_ca = authorities(sale.stack, tmp_path)
    sale.run("migrate", "--verbosity", "0")
    sale.run("activity", "create", "--name", "x", "--stock", "1001:100000", "--hold", "600")
    workers = Workers(sale)
    workers.restart(OLD_KEYS)
    assert workers.door is not None
    buyers = Buyers(
        load(Client, environ=sale.environment("run_loadgen")).model_copy(
            update={"ssl_cafile": str(both)}
        )
    )
    buyers.start()
    old_ticket = taken(click(workers.door, 1, token_of(1)))

    # The new ones are valid beside the old ones.
    second_passwords(sale)
    second_roles(sale.stack)
    second_users(sale.stack)
    workers.restart(BOTH_KEYS, both)
    pay(workers.door, old_ticket, OLD_PAYMENT, (200, 202))
    new_ticket = taken(click(workers.door, 2, token_of_new(2)))
    pay(workers.door, new_ticket, NEW_PAYMENT, (200, 202))
    taken(click(workers.door, 3, token_of(3)))

    # The servers' certificate, while clients know both authorities.
    change_certificates(sale.stack, tmp_path)
    workers.restart(NEW_KEYS, new_ca)

    # The old ones are taken away.
    take_away(sale)
    old = load(Client, environ=sale.environment("run_door"))
    with pytest.raises(BrokerRefuses, match="certificate verify failed"):
        open_producer(old.model_copy(update={"ssl_cafile": str(old_ca)}), DEFAULT_TOPIC)
    with pytest.raises(BrokerRefuses, match="uthentication failed"):
        open_producer(old.model_copy(update={"ssl_cafile": str(new_ca)}), DEFAULT_TOPIC)
    with connect(known.redis_url) as client, pytest.raises(RedisRefuses):
        ping(client)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(known.pg_dsn)
    assert click(workers.door, 4, token_of(4)).status == 401
    pay(workers.door, new_ticket, OLD_PAYMENT, (401,))
    taken(click(workers.door, 4, token_of_new(4)))

    clicks, sent = 4, buyers.end()
    assert sent > 100
    with connect(with_user(known.redis_url, "consumer")) as client:
        wait_until(lambda: read_lane(client, Lane()).decided == sent + clicks, 60, "all decided")
        wait_until(lambda: read_lane(client, Lane()).waiting == 0, 60, "all stored")
    assert workers.door.stop().code == 0
    stop(*workers.running.values())
    assert "audit: clean" in sale.run("audit", "--kafka", **renewed(sale, "audit", new_ca))


def click(door: RunningDoor, user: int, token: str) -> Told:
    """Of a buyer with this token."""
    return door.click(user=user, wait=25, Authorization=f"Bearer {token}")


def taken(told: Told) -> str:
    """The ticket of a click that was accepted."""
    assert told.content["outcome"] == "ACCEPTED", told
    return str(told.content["ticket"])


def pay(door: RunningDoor, ticket: str, key: str, codes: tuple[int, ...]) -> None:
    """What the shop's server says, with this key."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    result = json.dumps({"result": "paid", "reference": ticket})
    path = f"/v1/tickets/{ticket}/payment"
    wait_until(lambda: door.ask("POST", path, result, headers).status in codes, 20, f"{codes}")


def token_of_new(user: int) -> str:
    """A buyer's token by the new key."""
    claims = jwt.decode(token_of(user), SECRET, algorithms=["HS256"])
    return jwt.encode(claims, NEW_SECRET, algorithm="HS256", headers={"kid": "new"})


def authorities(stack: Stack, folder: Path) -> tuple[Path, Path, Path]:
    """Files with the old authority, with both, and with the new one."""
    certificates.keep_certificates(folder)
    new, both, old = certificates.ca_file(folder), folder / "both.pem", folder / "old.pem"
    shutil.copy(certificates.ca_file(stack.folder), old)
    both.write_text(old.read_text() + new.read_text())
    return old, both, new


def change_certificates(stack: Stack, folder: Path) -> None:
    """A broker with the new one; its fellows would be next."""
    shutil.copy(folder / "both.pem", certificates.ca_file(stack.folder))
    for name in (certificates.SERVER, certificates.CLIENT):
        source = certificates.pem_file(folder, name)
        shutil.copy(source, certificates.pem_file(stack.folder, name))
    stack.stop("kafka")
    stack.start("kafka")


def second_users(stack: Stack) -> None:
    """Of Kafka: each with the rights of the one before."""
    with admin(stack) as asker:
        asker.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(f"{user}-2", SASL_MECHANISM, NEW) for user in RENEWED]
        )
        of_old = [acl for user in RENEWED for acl in kafka_users._acls(user)]
        same = [
            ACL(f"{a.principal}-2", a.host, a.operation, a.permission_type, a.resource_pattern)
            for a in of_old
        ]
        assert asker.create_acls(same)["failed"] == []


def second_passwords(sale: SecuredSale) -> None:
    """Of the same users of Redis."""
    with sale.owner_of_redis() as client:
        for user in REDIS:
            client.execute_command("ACL", "SETUSER", user, f">{NEW}")


def second_roles(stack: Stack) -> None:
    """Of PostgreSQL: each may do what the one before may."""
    with owner_of_postgres(stack) as connection:
        for role in POSTGRES:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(f"{role}_2"), NEW, sql.Identifier(role)
                )
            )


def take_away(sale: SecuredSale) -> None:
    """What was valid before."""
    passwords = state_of(sale.stack).passwords
    with admin(sale.stack) as asker:
        asker.alter_user_scram_credentials(
            [UserScramCredentialDeletion(user, SASL_MECHANISM) for user in RENEWED]
        )
    with sale.owner_of_redis() as client:
        for user in REDIS:
            client.execute_command("ACL", "SETUSER", user, f"<{passwords[f'valkey-{user}']}")
    with owner_of_postgres(sale.stack) as connection:
        for role in POSTGRES:
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))


def with_user(url: str, user: str) -> str:
    """The address with this user, and the new password."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{NEW}@{place}").geturl()


def state_of(stack: Stack) -> State:
    """Its ports and passwords."""
    state = State.load(stack.folder)
    assert state is not None
    return state


@contextlib.contextmanager
def admin(stack: Stack) -> Iterator[KafkaAdminClient]:
    """Kafka, by the nodes' own certificate."""
    asker = KafkaAdminClient(**kafka_python_options(inside_of(stack)))
    yield asker
    asker.close()


def owner_of_postgres(stack: Stack) -> psycopg.Connection:
    """A connection that may give rights."""
    state = state_of(stack)
    return psycopg.connect(
        host="127.0.0.1",
        port=state.ports["postgres"],
        user="seckill",
        dbname="seckill",
        password=state.passwords["postgres"],
        autocommit=True,
    )
