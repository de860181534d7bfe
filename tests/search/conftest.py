"""What the search runs on: two Valkeys of its own, the session's PostgreSQL, and a driver."""

import logging
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from devstack.endpoints import Endpoints
from tests.helpers.sale import new_source
from tests.search.driver import Driver
from tests.search.servers import ROLE, ROLE_SQL, Keys, Tables, own_valkeys
from tests.search.wires import hold_open_transactions


@pytest.fixture(scope="session")
def valkeys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Keys]]:
    """Two servers."""
    with own_valkeys(tmp_path_factory.mktemp("valkeys")) as urls:
        yield [Keys(url) for url in urls]


@pytest.fixture(scope="package")
def fast_postgres(stack: Endpoints) -> Iterator[None]:
    """PostgreSQL without the waits that keep it safe in a loss of power, for these tests alone."""

    def alter(*statements: str) -> None:
        # A connection for each: other tests kill the server.
        with psycopg.connect(stack.pg_dsn, autocommit=True) as admin:
            for statement in (*statements, "SELECT pg_reload_conf()"):
                admin.execute(statement)

    # Autovacuum locks tables when it likes: nothing here may depend on that.
    alter(ROLE_SQL, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET autovacuum = off")
    yield
    alter("ALTER SYSTEM RESET fsync", "ALTER SYSTEM RESET autovacuum")


@pytest.fixture
def driver(
    valkeys: list[Keys], fast_postgres: None, pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Driver]:
    """The product's parts, in empty services."""
    # Nobody else moves while one part waits: what is not there now never comes.
    monkeypatch.setattr("seckill.audit.audit.BETWEEN_LOOKS_S", 0.0)
    monkeypatch.setattr("seckill.recovery.rebuild.STORING_LIMIT_S", 0.03)
    # A wait for a lock is as long as the role says, and leases are renewed by turns.
    for module in ("guard", "lease_keeper"):
        monkeypatch.setattr(f"seckill.consumer.{module}.limit", lambda connection, seconds: None)
    monkeypatch.setattr("seckill.consumer.lease_keeper.LeaseKeeper._start", lambda keeper: None)
    hold_open_transactions(monkeypatch.setattr)
    dsn = make_conninfo(pg_dsn, user=ROLE, password=ROLE)
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(USER=ROLE, PASSWORD=ROLE)
    tables = Tables(dsn)
    driver = Driver(valkeys, tables, dsn, new_source())
    logging.disable(logging.CRITICAL)
    yield driver
    logging.disable(logging.NOTSET)
    driver.close()
    tables.close()
    connection.close()
    connection.settings_dict.update(USER=before["USER"], PASSWORD=before["PASSWORD"])
