"""A bug whose error repeats an address: `python -m tests.helpers.buggy PLACE`.

As a library's error might. PLACE is where it happens: main, thread, log, or child, a consumer's.
"""

import logging
import sys
import threading
from typing import Never

from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.consumer.child import run_child
from seckill.lane.keys import Lane
from seckill.process.logs import configure_logging
from seckill.process.shutdown import start_child
from seckill.process.streams import prepare
from seckill.telemetry.heartbeats import Kind


def bug(*_: object) -> Never:
    """Raises what no command tells in one line."""
    server = load(Server)
    raise RuntimeError(f"{server.redis_url} and {server.pg_dsn}?sslpassword={server.sasl_password}")


def child(server: Server) -> None:
    """What a child of `run_consumer` runs, with the bug in it."""
    run_child(server, Lane(), Kind.CONSUMER, bug)


def main(place: str) -> None:
    """Come to the bug."""
    import multiprocessing

    prepare()
    configure_logging(load(Server).log_format)
    if place == "main":
        bug()
    elif place == "thread":
        thread = threading.Thread(target=bug)
        thread.start()
        thread.join()
    elif place == "log":
        try:
            bug()
        except RuntimeError:
            logging.getLogger("seckill").exception("a bug")
    else:
        process = multiprocessing.get_context("spawn").Process(target=child, args=(load(Server),))
        start_child(process)
        process.join()


if __name__ == "__main__":
    main(sys.argv[1])
