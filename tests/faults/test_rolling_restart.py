"""An upgrade in mid-sale (docs/runbooks/upgrade.md): every process is replaced under load."""

import re
import signal
from collections.abc import Callable

from tests.faults.command import Command, stop
from tests.faults.harness import Sale


def test_every_process_is_replaced_in_the_order_of_the_runbook(sale: Sale) -> None:
    starts: dict[str, Callable[[], Command]] = {
        "log worker 1": sale.log_worker,
        "log worker 2": sale.log_worker,
        "consumers 1": lambda: sale.consumer("--consumers", "2"),
        "consumers 2": lambda: sale.consumer("--consumers", "2"),
        "web": lambda: sale.start("run_control_api", "--port", "0"),
    }
    running = {name: start() for name, start in starts.items()}
    gone: list[Command] = []
    with sale.load(2_000):
        sale.wait_decided(2_000)
        assert sale.start("migrate", "--noinput").ended(40) == 0
        for name, start in starts.items():
            running[name].tell(signal.SIGTERM)
            assert running[name].ended(30) == 0, running[name].output
            gone.append(running[name])
            # The others sell on; then its successor has a part in it.
            sale.wait_decided(sale.decided() + 1_000)
            running[name] = start()
            running[name].wait_for(r"assigned partitions|\[log worker\]|control API +http", 30)
            sale.wait_decided(sale.decided() + 1_000)
    sale.wait_all_decided()
    sale.wait_all_stored()
    stop(*running.values())
    for command in (*gone, *running.values()):
        assert not re.search(r"Traceback|ended with code|was killed", command.output)
    sale.prove()


def test_two_versions_of_the_script_decide_side_by_side(sale: Sale) -> None:
    """Each process calls its own by its hash, and loads it again where Redis has forgotten it."""
    old = sale.consumer("--consumers", "1")
    with sale.load(1_500):
        sale.wait_decided(1_000)
        new = sale.run_module(
            *("other_version",),
            SECKILL_TOPIC=sale.server.topic,
            SECKILL_GROUP_ID=sale.server.group_id,
        )
        new.wait_for(r"assigned partitions: \[\d", 30)
        sale.wait_decided(sale.decided() + 1_000)
        sale.redis.script_flush()
        sale.wait_decided(sale.decided() + 1_000)
        stop(old)
        sale.wait_decided(sale.decided() + 1_000)
    sale.wait_all_decided()
    stop(new)
    sale.finish()
