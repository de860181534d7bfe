"""Fixtures of the clients' tests: a shop, as the integration tests have it."""

from tests.integration.conftest import shop

__all__ = ["shop"]
