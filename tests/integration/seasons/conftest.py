"""Fixtures: the table of orders, which is one table again after each test."""

from collections.abc import Iterator

import pytest

from tests.helpers.seasons import one_table_again


@pytest.fixture
def orders(pg_dsn: str) -> Iterator[str]:
    """The address of a database whose table of orders may be changed."""
    yield pg_dsn
    one_table_again()
