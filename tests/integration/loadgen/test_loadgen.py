"""Producers and load generator on a real Kafka, with both clients, as calls and as processes."""

import gc
import json
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from devstack.endpoints import Endpoints
from devstack.stack import Stack
from loadgen.plan import make_load
from loadgen.profile_file import read_profile
from loadgen.sender import run
from seckill.broker import producer as producers
from seckill.broker.opening import open_producer
from seckill.broker.producer import Producer
from seckill.broker.topics import Topics, ensure_topic
from seckill.config.layers import load
from seckill.config.sections import Client
from seckill.errors import BrokerAway
from seckill.process.shutdown import Shutdown
from tests.conftest import Manage, wait_until

# kafka-python leaves the sockets of refused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
Message = tuple[bytes | None, list[tuple[str, bytes]]]


@pytest.fixture
def client(stack: Endpoints, kafka_topic: str, kafka_client: str) -> Client:
    """Section `client` on a fresh topic, once with each Kafka client."""
    flags = {"brokers": stack.brokers, "topic": kafka_topic, "kafka_client": kafka_client}
    return load(Client, flags, {})


@pytest.fixture
def producer(client: Client) -> Iterator[Producer]:
    opened = open_producer(client, client.topic, max_in_flight=500)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Whatever the library left behind goes after all other fixtures, and not in a later test."""
    yield
    gc.collect()


def read_all(client: Client, topics: Topics) -> list[Message]:
    """Every message of the topic with its headers, partition by partition."""
    ends = topics.end_offsets(client.topic)
    reader = KafkaConsumer(bootstrap_servers=client.brokers.split(","), group_id=None)
    partitions = [TopicPartition(client.topic, number) for number in ends]
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    messages: list[Message] = []
    count = sum(ends.values())

    def all_read() -> bool:
        for polled in reader.poll(timeout_ms=200).values():
            messages.extend((message.value, list(message.headers)) for message in polled)
        return len(messages) >= count

    wait_until(all_read, 30, f"{count} messages read back")
    reader.close()
    return messages


def without_times(messages: list[Message]) -> list[str]:
    """The bodies in order of their text, with no time of initiation."""
    return sorted(
        re.sub(rb'_time":\d+', b'_time":', value or b"-").decode("latin-1") for value, _ in messages
    )


def total(topics: Topics, client: Client) -> int:
    return sum(topics.end_offsets(client.topic).values())


def test_all_that_is_sent_can_be_read_back(
    producer: Producer, client: Client, topics: Topics
) -> None:
    headers = [("reason", b"not JSON"), ("offset", b"7")]
    expected: list[Message] = [(b"%d" % number, []) for number in range(3000)]
    expected += [(None, []), (None, []), (b"", []), (b"\xff" * 1_000_000, []), (b"x", headers)]
    for value, its_headers in expected:
        producer.send(value, its_headers)
    assert producer.flush(120) == 0
    assert (producer.delivered, producer.failed, producer.last_error) == (len(expected), 0, "")
    found = read_all(client, topics)
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_records_in_flight_are_bounded(client: Client, topics: Topics) -> None:
    opened = open_producer(client, client.topic, linger_ms=60_000, max_in_flight=100)
    for number in range(99):
        opened.send(b"%d" % number)
    assert opened.room() == 1
    opened.send(b"last")
    assert opened.room(0.05) == 0
    assert opened.flush(120) == 0
    assert opened.room() == 100
    if client.kafka_client == "kafka-python":
        # The other client counts the bytes by itself.
        opened.send(b"x" * 80 * producers.PLACE_BYTES)
        assert opened.room() == 100 - 81
        opened.send(b"x" * 40 * producers.PLACE_BYTES)
        assert opened.room() == 0
        assert opened.flush(120) == 0
        assert opened.room() == 100
    opened.close()
    assert opened.failed == 0
    assert opened.delivered == total(topics, client) >= 100


def test_a_record_too_long_fails_alone(producer: Producer, client: Client, topics: Topics) -> None:
    producer.send(b"before")
    producer.send(b"x" * (producers.MAX_RECORD_BYTES + 1))
    producer.send(b"after")
    assert producer.flush(120) == 0
    assert (producer.delivered, producer.failed) == (2, 1)
    assert producer.last_error
    assert total(topics, client) == 2


def test_a_topic_that_is_not_there_is_not_made(
    client: Client, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producers, "CONNECT_S", 1.0)
    with pytest.raises(BrokerAway, match="topic no-such-topic"):
        open_producer(client, "no-such-topic")
    assert topics.source("no-such-topic") is None


def test_no_kafka_is_said_soon(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "CONNECT_S", 0.5)
    nowhere = client.model_copy(update={"brokers": "127.0.0.1:9"})
    with pytest.raises(BrokerAway, match=r"Kafka is away: 127\.0\.0\.1:9"):
        open_producer(nowhere, "any")


def test_the_same_seed_sends_the_same_requests_but_for_the_time(
    producer: Producer, client: Client, topics: Topics
) -> None:
    """Both runs go to one topic, so each body stands there twice."""
    profile = read_profile("dirty")
    reports = [
        run(
            make_load(client, profile, "dirty", requests=2000, peak_rate=50_000, seed=21),
            producer,
            Shutdown(),
            topic=client.topic,
        )
        for _ in range(2)
    ]
    for report in reports:
        assert report.complete
        assert report.sent == report.delivered == 2000
    assert reports[0].kinds == reports[1].kinds
    assert all(reports[0].kinds.values())
    bodies = without_times(read_all(client, topics))
    assert len(bodies) == 4000
    assert bodies[0::2] == bodies[1::2]


@pytest.fixture
def lonely(stack: Endpoints, kafka_client: str) -> Client:
    """A topic on which no other client of this process has an open connection."""
    flags = {"brokers": stack.brokers, "topic": f"t-{uuid.uuid4().hex}"}
    client = load(Client, {**flags, "kafka_client": kafka_client}, {})
    ensure_topic(client, client.topic)
    return client


def test_a_lost_answer_doubles_nothing(
    lonely: Client, running_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka is frozen with requests in flight, which are sent again: when it wakes, it has both."""
    monkeypatch.setattr(producers, "REQUEST_TIMEOUT_MS", 1000)
    others = connections(lonely)
    opened = open_producer(lonely, lonely.topic, max_in_flight=2000)
    wanted, frozen = threading.Event(), threading.Event()

    def freeze_and_wake() -> None:
        wanted.wait()
        running_stack.kill("kafka", signal.SIGSTOP)
        before = connections(lonely) - others
        frozen.set()
        try:
            wait_until(lambda: before - connections(lonely), 20, "a connection given up")
        finally:
            running_stack.kill("kafka", signal.SIGCONT)

    waker = threading.Thread(target=freeze_and_wake)
    waker.start()
    plan = make_load(lonely, requests=40_000, peak_rate=100_000)

    def freeze_now() -> None:
        wanted.set()
        frozen.wait()

    at_record(opened, 8000, freeze_now)
    report = run(plan, opened, Shutdown())
    waker.join()
    opened.close()
    assert (report.sent, report.delivered, report.failed) == (40_000, 40_000, 0)
    with Topics(lonely) as again:
        assert sum(again.end_offsets(lonely.topic).values()) == 40_000


def at_record(opened: Producer, number: int, act: Callable[[], None]) -> None:
    """Do something just before so many have been sent, whatever the machine does meanwhile."""
    send, sent = opened.send, 0

    def counted(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            act()
        send(value, headers)

    opened.send = counted  # type: ignore[method-assign]


def connections(client: Client) -> set[int]:
    """The ports of this process that are connected to Kafka."""
    kafka = int(client.brokers.rpartition(":")[2])
    found = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in found if c.raddr and c.raddr.port == kafka}


def test_nothing_is_lost_or_doubled_when_kafka_is_killed_in_mid_run(
    lonely: Client, running_stack: Stack
) -> None:
    client = lonely
    opened = open_producer(client, client.topic, max_in_flight=2000)
    before = set(threading.enumerate())
    given_up = open_producer(client, client.topic)
    tried = threading.Event()

    def start() -> None:
        tried.wait()
        running_stack.start("kafka")

    def kill() -> None:
        running_stack.kill("kafka")
        # A producer that is closed meanwhile: it gives up, says so, and leaves no thread.
        for number in range(50):
            given_up.send(b"%d" % number)
        left = given_up.flush(0.2)
        tried.set()
        assert left == 50
        given_up.close()

    starter = threading.Thread(target=start)
    starter.start()
    # More than it can send: at the moment of the kill all places are taken.
    plan = make_load(client, requests=40_000, peak_rate=100_000)
    at_record(opened, 8000, kill)
    report = run(plan, opened, Shutdown())
    starter.join()
    assert (given_up.delivered, given_up.failed) == (0, 50)
    assert "closed" in given_up.last_error
    wait_until(lambda: set(threading.enumerate()) <= before, 10, "its threads ended")
    opened.close()
    assert (report.sent, report.delivered, report.failed) == (40_000, 40_000, 0)
    with Topics(client) as again:
        assert sum(again.end_offsets(client.topic).values()) == 40_000


def finish(process: "subprocess.Popen[str]", timeout_s: float = 240) -> str:
    """All that it said, standard error included, when it has ended."""
    text, _ = process.communicate(timeout=timeout_s)
    return text


def test_the_command_reports_what_it_sent(manage: Manage, client: Client, topics: Topics) -> None:
    process = manage(
        *("run_loadgen", "--topic", client.topic, "--kafka-client", client.kafka_client),
        *("--user-count", "500", "--rate", "5000", "--seed", "8", "--json", "--quiet"),
    )
    text = finish(process)
    assert process.returncode == 0, text
    report = json.loads(text)
    assert (report["sent"], report["delivered"], report["failed"]) == (500, 500, 0)
    assert (report["profile"], report["seed"], report["topic"]) == ("client", 8, client.topic)
    users = {json.loads(value or b"")["user_id"] for value, _ in read_all(client, topics)}
    assert users == set(range(1, 501))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_run_ends_it_with_a_report_and_exit_code_0(
    manage: Manage, client: Client, topics: Topics, number: signal.Signals
) -> None:
    process = manage(
        *("run_loadgen", "--topic", client.topic, "--kafka-client", client.kafka_client),
        *("--user-count", "1000000", "--rate", "2000", "--json", "--quiet"),
    )
    wait_until(lambda: total(topics, client) > 500, 60, "requests in the topic")
    process.send_signal(number)
    text = finish(process)
    assert process.returncode == 0, text
    report = json.loads(text)
    assert report["stopped"] is True
    assert report["failed"] == report["unacknowledged"] == 0
    assert 500 < report["sent"] == report["delivered"] == total(topics, client)


@pytest.fixture
def one_client(stack: Endpoints, kafka_topic: str) -> Client:
    """Section `client` with one Kafka client, for what does not depend on it."""
    flags = {"brokers": stack.brokers, "topic": kafka_topic, "kafka_client": "confluent-kafka"}
    return load(Client, flags, {})


def test_two_processes_send_one_load(
    manage: Manage, one_client: Client, topics: Topics, tmp_path: Path
) -> None:
    profile = tmp_path / "mixed.yaml"
    profile.write_text("{rate: 3000, requests: 3000, users: 3000, multi: {share: 0.2}}")
    process = manage(
        *("run_loadgen", "--topic", one_client.topic, "--kafka-client", "confluent-kafka"),
        *("--profile", str(profile), "--seed", "8", "--processes", "2", "--json", "--quiet"),
    )
    text = finish(process)
    assert process.returncode == 0, text
    report = json.loads(text)
    assert (report["sent"], report["delivered"], report["processes"]) == (3000, 3000, 2)
    planned = make_load(one_client, read_profile(str(profile)), seed=8)
    shares = [planned.share(part, 2) for part in range(2)]
    bodies: list[Message] = [
        (body, []) for share in shares for body in share.buyers().draw([0] * share.requests)
    ]
    assert without_times(read_all(one_client, topics)) == without_times(bodies)


def test_a_sending_process_that_dies_is_told_and_the_others_go_on(
    manage: Manage, one_client: Client, topics: Topics
) -> None:
    process = manage(
        *("run_loadgen", "--topic", one_client.topic, "--kafka-client", "confluent-kafka"),
        *("--user-count", "16000", "--rate", "2000", "--processes", "2", "--json", "--quiet"),
    )
    wait_until(lambda: total(topics, one_client) > 200, 60, "requests in the topic")
    senders = [
        child
        for child in psutil.Process(process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(senders) == 2
    senders[0].kill()
    text = finish(process)
    assert process.returncode == 1, text
    report = json.loads(text)
    assert "ended with code -9" in report["last_error"]
    assert 8000 <= report["sent"] < 16000


@pytest.fixture
def fresh_topic(topics: Topics, kafka_topic: str) -> Iterator[str]:
    """A name that no topic has yet."""
    name = f"{kafka_topic}-fresh"
    yield name
    topics.delete(name)


def test_a_missing_topic_is_made_with_the_partitions_asked_for(
    manage: Manage, fresh_topic: str, topics: Topics
) -> None:
    process = manage(
        *("run_loadgen", "--topic", fresh_topic, "--partitions", "3"),
        *("--user-count", "20", "--rate", "1000"),
    )
    text = finish(process)
    assert process.returncode == 0, text
    assert f"topic {fresh_topic} did not exist and was created: 3 partitions" in text
    assert "20 of 20" in text
    assert topics.partitions(fresh_topic) == [0, 1, 2]


def test_kafka_away_at_start_is_one_clear_line_and_exit_code_3(manage: Manage) -> None:
    process = manage(
        *("run_loadgen", "--brokers", "127.0.0.1:9", "--connect-timeout", "1"),
        # See pytestmark.
        PYTHONWARNINGS="ignore::ResourceWarning",
    )
    text = finish(process)
    assert process.returncode == 3, text
    assert "Kafka is away: 127.0.0.1:9" in text
    assert "Nothing was sent" in text
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--profile", "spke"], 2, "did you mean spike?"),
        (["--rate", "fast"], 2, "--rate"),
        (["--seed", "-1"], 2, "not a whole number"),
        (["--list-profiles"], 0, "constant "),
        (["--profile", "dirty", "--seed", "3", "--dry-run", "5"], 0, '"request_id":"3-0"'),
        (
            ["--profile", "dirty", "--seed", "3", "--ids", "monday", "--dry-run", "5"],
            0,
            '"request_id":"monday-0"',
        ),
        (["--ids", 'a"b'], 2, "letters, digits"),
    ],
)
def test_what_needs_no_kafka(manage: Manage, arguments: list[str], code: int, words: str) -> None:
    process = manage("run_loadgen", "--brokers", "127.0.0.1:9", *arguments)
    text = finish(process)
    assert process.returncode == code, text
    assert words in text
    assert "Traceback" not in text
