"""A split sale that real commands find: each lane with a Redis of its own, in one configuration."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.lane.client import connect
from tests.conftest import Manage
from tests.faults.lanes import Lanes
from tests.helpers.servers import OwnValkey, valkey_to_kill
from tests.helpers.shop import Shop
from tests.helpers.split_sale import NORTH, Split


@dataclass
class Known:
    """The sale, the commands of its lanes, and the Valkey of lane north."""

    sale: Split
    lanes: Lanes
    north: OwnValkey


@contextlib.contextmanager
def known_sale(
    manage: Manage,
    server: Server,
    topics: Topics,
    redis_client: "redis.Redis",
    pg_dsn: str,
    folder: Path,
) -> Iterator[Known]:
    """Split over main and north; the sources of its requests are the real topics."""
    with contextlib.ExitStack() as ends:
        valkey = ends.enter_context(valkey_to_kill(folder))
        north = ends.enter_context(connect(valkey.url))
        lanes = Lanes(manage, server, folder, ("north",), {"north": valkey.url}, {})
        ends.enter_context(lanes)
        of_main, of_north = (str(topics.source(lanes.topics[name])) for name in lanes.names)
        shops = (
            Shop(redis_client, server.redis_url, pg_dsn, source=of_main),
            Shop(north, valkey.url, pg_dsn, NORTH, of_north),
        )
        for shop in shops:
            ends.callback(shop.close)
        sale = Split(*shops)
        sale.split()
        yield Known(sale, lanes, valkey)
