"""What the workers use: little while nothing happens, and a bounded amount whatever waits."""

import os
import time

import psutil

from tests.conftest import wait_until
from tests.faults.harness import Sale

# Seconds of nothing to do.
IDLE_S = 8.0
# Share of a core. The aim is 2 %; this is only to catch a loop that spins.
IDLE_LIMIT = 0.10
# Mebibytes of a consumer process, whatever waits in Kafka.
RSS_LIMIT_MIB = 200
# CI may ask for a longer backlog.
BACKLOG = int(os.environ.get("BACKLOG", "100000"))


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def test_idle_workers_use_next_to_nothing(sale: Sale) -> None:
    sale.backlog(1_000)
    quiet = ("--status-interval", "60")
    names = {}
    for kafka_client in ("kafka-python", "confluent-kafka"):
        # Each in its own group: both have all partitions.
        group = f"{sale.server.group_id}-{kafka_client}"
        command = sale.consumer(*quiet, "--kafka-client", kafka_client, "--group-id", group)
        command.wait_for(r"assigned partitions: \[0, 1, 2, 3\]")
        names[f"run_consumer, {kafka_client}"] = psutil.Process(command.pid)
        names[f"consumer on {kafka_client}"] = command.consumers()[0]
    log_worker = sale.log_worker(*quiet)
    names["run_log_worker"] = psutil.Process(log_worker.pid)
    sale.wait_all_decided()
    sale.wait_all_stored()
    before = {name: cpu_s(process) for name, process in names.items()}
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > IDLE_S, IDLE_S + 5, "nothing happens")
    passed = time.monotonic() - began
    shares = {name: (cpu_s(names[name]) - before[name]) / passed for name in names}
    for name, share in shares.items():
        print(f"idle: {name}: {share:.1%} of a core")
    assert {name for name, share in shares.items() if share > IDLE_LIMIT} == set()
    sale.prove()


def test_memory_does_not_grow_with_the_backlog(sale: Sale, kafka_client: str) -> None:
    sale.kafka_client = kafka_client
    sale.backlog(BACKLOG)
    command = sale.consumer()
    highest = 0

    def done() -> bool:
        nonlocal highest
        for child in command.consumers():
            highest = max(highest, child.memory_info().rss)
        return sale.decided() == BACKLOG

    wait_until(done, 60, "the backlog is decided")
    print(f"memory: consumer on {kafka_client}, backlog {BACKLOG:,}: {highest >> 20} MiB")
    assert 0 < highest < RSS_LIMIT_MIB << 20
    sale.finish()
