"""Batches that unpack to more than there is memory: counted, parked, and the sale goes on."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from devstack.stack import Stack
from seckill.audit.kafka import KafkaAudit
from seckill.broker.reader import TopicReader
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.dead_letters.writer import dead_topic
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from tests.conftest import Manage
from tests.helpers import bombs
from tests.helpers.messages import headers, read
from tests.helpers.node import Node
from tests.helpers.sale import body, put_on_sale

LANE = Lane()
MB = 1_000_000
# MB that a process may have at any moment.
MOST_MB = 300
Run = Callable[..., str]


@pytest.fixture
def run(manage: Manage, server: Server) -> Run:
    """Run `manage.py` to its end: what it said. No process of it had more than MOST_MB."""

    def run(*arguments: str) -> str:
        section = ("--brokers", server.brokers, "--topic", server.topic)
        command = manage(*arguments, *section)
        said, _ = command.communicate(timeout=400)
        assert command.returncode == 0, said
        assert command.peak_mb < MOST_MB, (command.peak_mb, said)
        return said

    return run


def send(server: Server, *batches: bytes) -> None:
    bombs.produce(server.brokers, server.topic, 0, *batches)


# A consumer on confluent-kafka goes on with kafka-python, and reads all of these with it: a sale
# that begins with that client needs one codec only.
@pytest.mark.parametrize(
    ("kafka_client", "codec"),
    [
        *(("confluent-kafka", codec) for codec in ("gzip", "snappy", "lz4", "zstd")),
        ("kafka-python", "zstd"),
    ],
)
def test_a_bomb_stops_nothing(
    run: Run, redis_client: "redis.Redis", server: Server, topics: Topics, kafka_topic: str,
    kafka_client: str, codec: str,
) -> None:  # fmt: skip
    # Snappy shrinks to a twentieth at most, and Kafka takes 4 MB here.
    size = (80 if codec == "snappy" else 300) * MB
    many = size // 100_000
    good = [bombs.batch("none", [body(user)]) for user in range(1, 5)]
    send(
        server,
        good[0],
        # One long message, and many that are as long together.
        bombs.batch(codec, [size]),
        good[1],
        bombs.batch(codec, [100_000] * many),
        good[2],
        # Each of these unpacks, and all at once would be too much.
        *[bombs.batch(codec, [10 * MB])] * 30,
        good[3],
    )
    said = run(
        "run_consumer", "--drain", "--stock", "1001:100", "--kafka-client", kafka_client,
        "--group-id", server.group_id, "--session-timeout", "3000", "--drain-limit", "300",
        # With a second one, which has partition 1 or is started again with the first one.
        "--consumers", "2" if codec == "gzip" else "1",
    )  # fmt: skip
    assert ("start again on kafka-python" in said) == (kafka_client == "confluent-kafka"), said
    lane = read_lane(redis_client, LANE)
    assert (lane.invalid, lane.skipped, lane.activities[1].success) == (many + 31, 0, 4)

    # Those of a process that ended before it heard of them were sent twice.
    sent = topics.end_offsets(dead_topic(kafka_topic))[0]
    letters = read(server.brokers, dead_topic(kafka_topic), sent)
    by_offset = {int(headers(letter)["offset"]): headers(letter)["reason"] for letter in letters}
    reasons = Counter(by_offset.values())
    assert reasons.pop(f"its batch ({codec}) unpacks to more than 32 MB") == many + 1
    assert sum(reasons.values()) == 30
    assert sorted(by_offset) == [1, *range(3, 3 + many), *range(4 + many, 34 + many)]

    report = json.loads(run("audit", "--kafka", "--json"))
    assert (report["clean"], report["kafka"]["exact"]) == (True, True)
    [look] = [look for look in report["kafka"]["partitions"] if look["partition"] == 0]
    assert (look["requests"], look["invalid"], look["holes"]) == (4, many + 31, 0)


def test_a_damaged_batch_stops_nothing(
    run: Run, redis_client: "redis.Redis", server: Server, kafka_topic: str, kafka_client: str,
    running_stack: Stack, devstack_folder: Path,
) -> None:  # fmt: skip
    """As a broken disk leaves it. Nobody else has these messages: their offsets are INVALID."""
    for _ in range(3):
        send(server, bombs.batch("lz4", [body(user) for user in range(1, 11)]))
    bombs.damage(devstack_folder / "kafka" / "data", kafka_topic, 0, 10)
    run(
        "run_consumer", "--drain", "--stock", "1001:100", "--kafka-client", kafka_client,
        "--group-id", server.group_id, "--session-timeout", "3000", "--drain-limit", "300",
    )  # fmt: skip
    lane = read_lane(redis_client, LANE)
    assert (lane.invalid, lane.skipped, lane.activities[1].success) == (10, 0, 20)
    letters = read(server.brokers, dead_topic(kafka_topic), 10)
    assert {headers(letter)["reason"] for letter in letters} == {
        "its batch is damaged in Kafka: wrong checksum"
    }
    assert json.loads(run("audit", "--kafka", "--json"))["clean"]


@pytest.mark.parametrize("traced", [False, True])
def test_the_name_of_a_header_is_nobodys_concern(
    node: Node, traced: bool, transactional_db: None
) -> None:
    """Kafka takes any bytes there; kafka-python took the whole batch for damaged.

    Traces are in headers: confluent-kafka has no list of them then, and must be asked once.
    """
    if traced:
        endpoint = "http://127.0.0.1:9/v1/traces"
        node.server = node.server.model_copy(update={"otlp_endpoint": endpoint})
    put_on_sale(node.client, {1001: 1000})
    send(node.server, bombs.batch("lz4", [body(1), body(2)], header=b"\xff\xfe"))
    consumer = node.consumer()
    node.decided(consumer, 2)
    assert (node.lane().invalid, node.lane().activities[1].success) == (0, 2)
    with TopicReader(node.server) as topic:
        assert KafkaAudit(node.client, topic, LANE).run().sum("requests") == 2
        [batch] = [batch for batch in topic.messages(0) if batch]
        assert batch[0].headers() == [("\udcff\udcfe", None)]


def test_a_letter_of_a_bomb_can_be_looked_at(
    run: Run, redis_client: "redis.Redis", server: Server, topics: Topics, kafka_topic: str
) -> None:
    send(server, bombs.batch("zstd", [300 * MB]))
    run(
        "run_consumer", "--drain", "--stock", "1001:100", "--group-id", server.group_id,
        "--drain-limit", "300",
    )  # fmt: skip
    origin = f"{topics.source(kafka_topic)}:0:0"
    assert "its batch (zstd) unpacks to more than 32 MB" in run("dead_letters", "show", origin)
    assert "its batch (zstd) unpacks to more than 32 MB" in run("dead_letters", "list")
