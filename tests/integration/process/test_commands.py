"""run_consumer and run_log_worker as people use them: real processes, their words, exit codes."""

import contextlib
import re
from pathlib import Path

import pytest

from devstack.endpoints import Endpoints
from seckill.config.sections import LogWorker, Section, Server, flag_of, is_secret
from seckill.process.exit_codes import UNREACHABLE, USAGE
from tests.conftest import Manage, wait_until
from tests.faults.buyers import MALFORMED_EACH
from tests.faults.harness import PLENTY, SCARCE, Sale
from tests.faults.opening import OpenSale

WORKERS = ("run_consumer", "run_log_worker")
# Nobody listens there.
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def sale(open_sale: OpenSale) -> Sale:
    """An empty sale on the session's services; its commands end with the test."""
    return open_sale(4)


def result(manage: Manage, *arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    process = manage(*arguments, **variables)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


# What they do


def test_drain_decides_and_stores_a_backlog(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    sale.backlog(20_000)
    consumer = sale.consumer("--drain", "--consumers", "3")
    assert consumer.ended(40) == 0
    assert consumer.group() == []
    # Members join one by one, so which of them got how much is not known.
    assert consumer.count("assigned partitions: .*[0-9]") >= 1
    assert "Traceback" not in consumer.output
    last = consumer.lines[-1]
    lane = sale.look()
    activity = lane.activities[1]
    assert last.startswith("[status] activity 1: left 1001:")
    assert f"1002:0 | on sale | accepted {activity.success:,} | expired 0" in last
    assert f"(sold_out {activity.failures:,}, invalid {20_000 // MALFORMED_EACH})" in last
    assert "decided 20,000" in last
    assert f"lag 0 | waiting for PostgreSQL {lane.waiting:,} | consumers 0" in last
    log_worker = sale.log_worker("--drain", "--batch-size", "3000")
    assert log_worker.ended() == 0
    assert f"waiting 0 | stored {lane.waiting:,} | already stored 0" in log_worker.lines[-1]
    # A second time there is nothing to do.
    for again in (sale.consumer("--drain"), sale.log_worker("--drain")):
        assert again.ended() == 0
    report = sale.prove()
    assert report.units_sold == SCARCE + PLENTY - activity.items[1001].left


def test_status_lines_come_each_interval(sale: Sale) -> None:
    sale.backlog(1_000)
    consumer, log_worker = sale.consumer(), sale.log_worker()
    consumer.wait_for(r"\[status\].*\| decided 1,000 \| .*/s \| lag 0 \| .* \| consumers 1$")
    log_worker.wait_for(r"^\[log worker\] waiting 0 \| stored [1-9]")
    for command in (consumer, log_worker):
        enough = len(command.lines) + 3
        wait_until(lambda c=command, n=enough: len(c.lines) >= n, 10, "three more")  # type: ignore[misc]
        command.process.terminate()
    for command in (consumer, log_worker):
        assert command.ended() == 0
    sale.prove()


def test_stock_is_loaded_only_where_nothing_is_loaded(sale: Sale) -> None:
    def left(*flags: str) -> tuple[dict[int, int], str]:
        command = sale.consumer("--drain", *flags, stock=False)
        assert command.ended() == 0
        activity = sale.look().activities.get(1)
        items = activity.items.values() if activity else ()
        return {item.item_id: item.left for item in items}, command.output

    items, said = left()
    assert items == {}
    assert "nothing is on sale: requests wait in Kafka until stock is loaded" in said
    items, said = left("--stock", "1001:50,1002:5")
    assert items == {1001: 50, 1002: 5}
    assert "activity 1: put on sale: {1001: 50, 1002: 5}" in said
    sale.backlog(20)
    # 20 buyers take 4 * (1 + 1 + 2 + 3) of 1001, and the four of them that want 1002 leave 1 of 5.
    sold, _ = left()
    assert sold[1002] == 1
    items, said = left("--stock", "1001:70,1003:7")
    assert items == {**sold, 1003: 7}
    assert f"kept as loaded: {{1001: {sold[1001]}}} (--reset replaces)" in said
    assert "put on sale: {1003: 7}" in said
    items, said = left("--stock", "1001:70", "--reset")
    assert items == {**sold, 1001: 70, 1003: 7}
    assert "stock replaced: " in said
    sale.drain_records()
    sale.prove()


def test_reset_offset_says_what_it_skips(sale: Sale) -> None:
    sale.backlog(300)
    consumer = sale.consumer("--drain", "--reset-offset")
    assert consumer.ended() == 0
    skipped = re.findall(r"--reset-offset: partition \d: (\d+) skipped", consumer.output)
    assert len(skipped) == 4
    assert sum(map(int, skipped)) == 300
    assert sale.decided() == 0
    # What comes after it is decided.
    sale.backlog(200)
    assert sale.consumer("--drain").ended() == 0
    assert sale.decided() == 200
    assert sale.look().skipped == 300
    sale.drain_records()
    sale.prove(skipped=300)


# What they say when something is wrong


@pytest.mark.parametrize("name", WORKERS)
def test_help_names_every_parameter(manage: Manage, name: str) -> None:
    code, text = result(manage, name, "--help")
    assert code == 0
    section: type[Section] = Server if name == "run_consumer" else LogWorker
    for parameter in section.model_fields:
        # A secret has no flag: everybody on a machine sees the flags of its processes.
        has_flag = not is_secret(section, parameter)
        assert (f"{flag_of(parameter)} " in text.replace(",", " ")) == has_flag
    flags = {
        "run_consumer": ("--drain", "--reset", "--activity-id"),
        "run_log_worker": ("--drain",),
    }
    for flag in (*flags[name], "--stop-with-stdin"):
        assert flag in text
    words = " ".join(text.split())
    assert "exit codes: 0 stopped, or drained " in words
    assert " 2 wrong command line or configuration, or a service that is not fit" in words
    assert "a second signal exits at once with 130" in words
    assert "postgres@" not in text


WRONG = [
    pytest.param(["--stok", "1:1"], {}, "unrecognized arguments: --stok", id="unknown flag"),
    pytest.param(["--stock", "1:a"], {}, "--stock: '1:a' is not ITEM:UNITS", id="stock"),
    pytest.param(["--brokers", "a b:c"], {}, "--brokers: 'a b:c' is not HOST:PORT", id="brokers"),
    pytest.param(["--activity-id", "0"], {}, "--activity-id: '0' is not a number", id="activity"),
    pytest.param(["--redis-url", "http://:pw1@x"], {}, "--redis-url: ", id="Redis address"),
    pytest.param(["--pg-dsn", "postgresql://u:pw1@h:x/y"], {}, "--pg-dsn: ", id="database"),
    pytest.param([], {"SECKILL_CONSUMERS": "two"}, "SECKILL_CONSUMERS: .*'two'", id="variable"),
    pytest.param([], {"SECKILL_CONSUMER": "2"}, "variable SECKILL_CONSUMER;", id="no variable"),
]


@pytest.mark.parametrize(("flags", "variables", "said"), WRONG)
def test_a_wrong_value_is_one_line(
    manage: Manage, flags: list[str], variables: dict[str, str], said: str
) -> None:
    code, text = result(manage, "run_consumer", *flags, **variables)
    assert code == USAGE
    *before, last = text.splitlines()
    assert re.search(said, last), text
    assert before in ([], ["usage: manage.py run_consumer [flags]  (--help explains them)"])
    # A password in it is not repeated.
    assert "pw1" not in text


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("server: {consumers: many}", "server.consumers: .*'many'"),
        ("server: {consumer: 2}", "unknown key server.consumer; did you mean consumers?"),
        ("server: [1", "line 1"),
    ],
)
def test_a_wrong_file_is_one_line(manage: Manage, tmp_path: Path, yaml: str, said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml)
    code, text = result(manage, "run_consumer", SECKILL_CONFIG=str(file))
    assert code == USAGE
    [line] = text.splitlines()
    assert str(file) in line
    assert re.search(said, line), line


UNREACHABLE_SERVICES = [
    ("run_consumer", ("--brokers", NOWHERE), "Kafka is away: 127.0.0.1:1: "),
    ("run_consumer", ("--redis-url", f"redis://{NOWHERE}/0"), "Redis is away: "),
    (
        "run_consumer",
        ("--stock", "1:1", "--pg-dsn", f"postgresql://u@{NOWHERE}/x"),
        "PostgreSQL is away: ",
    ),
    ("run_log_worker", ("--redis-url", f"redis://{NOWHERE}/0"), "Redis is away: "),
    ("run_log_worker", ("--pg-dsn", f"postgresql://u@{NOWHERE}/x"), "PostgreSQL is away: "),
]


def test_a_service_that_cannot_be_reached(sale: Sale) -> None:
    commands = []
    for name, flags, _ in UNREACHABLE_SERVICES:
        topic = ("--topic", sale.server.topic) if name == "run_consumer" else ()
        # Time enough for the services that are there, on a busy machine.
        commands.append(sale.start(name, *topic, "--connect-timeout", "8", *flags))
    for command, (_, _, said) in zip(commands, UNREACHABLE_SERVICES, strict=True):
        assert command.ended(30) == UNREACHABLE
        first, *_, last = [command.lines[0], *command.lines]
        assert last.startswith(f"CommandError: {said}")
        assert len(set(command.lines)) <= 2
        if first != last:
            assert re.fullmatch(rf"{said}.* Trying for \d s more \(--connect-timeout-s\)", first)


def test_a_service_that_comes_up_later(sale: Sale) -> None:
    sale.kill("valkey")
    workers = sale.consumer("--drain"), sale.log_worker("--drain")
    for worker in workers:
        worker.wait_for("Redis is away: .* Trying for")
    sale.revive("valkey")
    for worker in workers:
        assert worker.ended() == 0


def test_a_stop_while_waiting_for_a_service(sale: Sale) -> None:
    command = sale.start("run_log_worker", "--redis-url", f"redis://{NOWHERE}/0")
    command.wait_for("Redis is away")
    command.process.terminate()
    assert command.ended() == 0
    assert command.lines[-1] == "stopped before it started"


def test_a_database_without_tables(sale: Sale, stack: Endpoints) -> None:
    commands = (
        sale.consumer("--pg-dsn", stack.pg_dsn),
        sale.log_worker("--pg-dsn", stack.pg_dsn, "--connect-timeout", "1"),
    )
    for command in commands:
        assert command.ended() == USAGE
        assert "run manage.py migrate" in command.lines[-1]
        assert "Traceback" not in command.output


def test_a_topic_that_does_not_exist_is_made(sale: Sale, server: Server) -> None:
    name = f"{server.topic}-new"
    other = Sale(
        server.model_copy(update={"topic": name, "group_id": name}),
        sale.stack,
        sale.redis,
        sale.manage,
        sale.environment,
    )
    with contextlib.closing(other):
        command = other.consumer("--drain")
        assert command.ended() == 0
        assert f"topic {name} did not exist and was created" in command.output
        assert len(other.ends()) == 4
