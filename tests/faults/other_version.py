"""`python -m tests.faults.other_version`: a consumer of another version, known by its script alone.

The script's text differs, so Redis knows it by another hash. Its rules are the product's own.
"""

import hashlib

from seckill.broker.topics import Topics
from seckill.config.layers import load as load_section
from seckill.config.sections import Server
from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.lane.scripts import Script, load
from seckill.process.shutdown import Shutdown
from tests.faults.dying import build, log_as_a_consumer


class OtherVersion(Engine):
    """Decides by a script with another hash."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, Lane())
        text = load("decide_batch").text + "\n-- another version\n"
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._script = Script("decide_batch", text, sha)


def main() -> None:
    """Run until SIGTERM."""
    server = load_section(Server)
    log_as_a_consumer()
    with Shutdown() as shutdown, Topics(server) as topics:
        build(server, topics, shutdown, OtherVersion(server.redis_url)).run()


if __name__ == "__main__":
    main()
