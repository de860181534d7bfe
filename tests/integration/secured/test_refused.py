"""Each thing that a person must mend is told by its own cause, with both clients: never "away"."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from devstack import certificates
from devstack.stack import Stack
from seckill.broker.opening import open_consumer, open_producer
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.rights import COMMANDS
from seckill.config.sections import DEFAULT_GROUP, DEFAULT_TOPIC, Server
from seckill.errors import BrokerAway, BrokerRefuses
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.process.exit_codes import UNREACHABLE, USAGE
from tests.conftest import wait_until
from tests.helpers.secured import SecuredSale, inside_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def _topic(secured_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sale's topic is there."""
    section = of(SecuredSale(secured_stack, tmp_path_factory.mktemp("x")), "run_consumer")
    with Topics(section, 30) as topics:
        topics.ensure(DEFAULT_TOPIC)


def of(secured: SecuredSale, command: str, **changes: object) -> Server:
    """What a command's section says of Kafka."""
    return load(Server, environ=secured.environment(command)).model_copy(update=changes)


def refusal(section: Server, open_it: Callable[[Server], object]) -> str:
    """What is told."""
    with pytest.raises(BrokerRefuses) as told:
        open_it(section)
    return str(told.value)


def send(section: Server) -> str:
    """One message; why it was not taken."""
    producer = open_producer(section, DEFAULT_TOPIC)
    producer.send(b"{}")
    assert producer.flush(30) == 0
    producer.close()
    return producer.last_error


def openers() -> list[Callable[[Server], object]]:
    """What a worker opens."""
    return [lambda s: Topics(s, 3), lambda s: open_producer(s, DEFAULT_TOPIC), TopicReader]


@pytest.mark.parametrize("open_it", openers())
def test_a_wrong_password(
    secured: SecuredSale, kafka_client: str, open_it: Callable[[Server], object]
) -> None:
    section = of(secured, "audit", kafka_client=kafka_client, sasl_password="wrong")
    assert "uthentication failed" in refusal(section, open_it)


def test_what_else_a_client_cannot_be_opened_with(
    secured: SecuredSale, kafka_client: str, tmp_path: Path
) -> None:
    good = of(secured, "run_consumer", kafka_client=kafka_client)
    other = tmp_path / "other"
    other.mkdir()
    certificates.keep_certificates(other)
    cases = {
        "certificate verify failed": {"ssl_cafile": str(certificates.ca_file(other))},
        "ssl_cafile: /not/there.pem cannot be read: No such file": {"ssl_cafile": "/not/there.pem"},
        "speaks TLS: set security_protocol to SSL or SASL_SSL": {
            "security_protocol": "PLAINTEXT",
            "sasl_mechanism": None,
        },
    }
    for said, changes in cases.items():
        section = good.model_copy(update=changes)
        assert said in refusal(section, lambda s: open_producer(s, DEFAULT_TOPIC)), said


def test_a_right_too_few_is_told_by_its_name(secured: SecuredSale, kafka_client: str) -> None:
    sender = of(secured, "run_loadgen", kafka_client=kafka_client)
    with Topics(sender, 30) as topics:
        with pytest.raises(BrokerRefuses, match="lacks DESCRIBE on topic other"):
            topics.ensure("other")
        with pytest.raises(BrokerRefuses, match=f"lacks DESCRIBE on group {DEFAULT_GROUP}"):
            topics.committed(DEFAULT_GROUP, DEFAULT_TOPIC)
    assert send(sender) == ""
    reader = TopicReader(sender)
    held = [p for p, end in reader.topics.end_offsets(DEFAULT_TOPIC).items() if end]
    messages = reader.messages(held[0])
    with pytest.raises(BrokerRefuses, match=f"lacks READ on topic {DEFAULT_TOPIC}"):
        list(messages)
    reader.__exit__()
    settler = of(secured, "run_settler", kafka_client=kafka_client)
    assert f"lacks WRITE on topic {DEFAULT_TOPIC}" in send(settler)


@pytest.mark.parametrize(
    ("command", "lacks"),
    [("run_loadgen", f"READ on group {DEFAULT_GROUP}"), ("audit", "READ on group")],
)
def test_a_member_without_a_right(
    secured: SecuredSale, kafka_client: str, command: str, lacks: str
) -> None:
    consumer = open_consumer(of(secured, command, kafka_client=kafka_client))

    def told() -> str:
        try:
            consumer.poll(0.5, 1)
        except BrokerAway as away:
            return str(away) if isinstance(away, BrokerRefuses) else ""
        return ""

    assert lacks in wait_until(told, 30, "the consumer is refused")
    consumer.close()


def test_a_client_certificate(secured: SecuredSale, kafka_client: str) -> None:
    """On the nodes' own port, which takes nobody without one."""
    known = inside_of(secured.stack).model_copy(update={"kafka_client": kafka_client})
    open_producer(known, DEFAULT_TOPIC).close()
    inside = known.model_copy(update={"ssl_certfile": None})
    with pytest.raises(BrokerAway):
        open_producer(inside, DEFAULT_TOPIC)


def test_a_right_too_few_in_redis(secured: SecuredSale) -> None:
    """A worker tells at its start which one, of those that its own user has."""
    lacks = {"run_consumer": "lpush", "run_log_worker": "ltrim", "run_settler": "setrange"}
    users = {command: str(COMMANDS[command].redis) for command in lacks}
    with secured.owner_of_redis() as owner:
        for command, right in lacks.items():
            owner.execute_command("ACL", "SETUSER", users[command], f"-{right}")
        try:
            started = {command: secured.start(command) for command in lacks}
            for command, right in lacks.items():
                assert started[command].ended(60) == USAGE
                said = started[command].output
                line = rf"lacks rights: {right.upper()} \([^,]*\)\. .* user {users[command]}$"
                assert re.search(line, said, re.MULTILINE), said
        finally:
            for command, right in lacks.items():
                owner.execute_command("ACL", "SETUSER", users[command], f"+{right}")


@pytest.mark.parametrize("command", ["run_door", "run_events", "run_webhooks"])
def test_who_only_reads_writes_its_heartbeat_alone(secured: SecuredSale, command: str) -> None:
    lane = Lane()
    with connect(secured.endpoints(command).redis_url) as client:
        client.hset(lane.workers, "x", "1")
        client.hdel(lane.workers, "x")
        client.hgetall(lane.state)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.hset(lane.state, "x", "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.lpush(lane.list, "x")


def test_the_door_reads_postgresql_alone(secured: SecuredSale) -> None:
    with psycopg.connect(secured.endpoints("run_door").pg_dsn) as role:
        role.execute("SELECT count(*) FROM seckill_record")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            role.execute("DELETE FROM seckill_record")


def test_a_command_says_it_in_one_line(secured: SecuredSale) -> None:
    said = secured.run(
        "run_loadgen", "--connect-timeout-s", "0", "--user-count", "1",
        code=UNREACHABLE, SECKILL_SASL_USERNAME="nobody",
    )  # fmt: skip
    told = [line for line in said.splitlines() if line.startswith("CommandError")]
    assert len(told) == 1
    assert "Kafka refuses" in told[0]
