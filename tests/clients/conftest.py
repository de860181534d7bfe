"""Fixtures of the clients' tests: a shop and a door, as the integration tests have them."""

from tests.integration.conftest import node, shop
from tests.integration.web.door.conftest import consumer, door, kafka_client, open_door

__all__ = ["consumer", "door", "kafka_client", "node", "open_door", "shop"]
