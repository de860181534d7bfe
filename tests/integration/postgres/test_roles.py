"""Roles that are limited: by a right that was revoked, by times of their own. Straight and behind a
pgbouncer in transaction mode, where nothing can be set for a session.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from devstack.endpoints import HOST
from seckill.monitoring.fitness import Unfit, check_postgres
from tests.conftest import Manage, wait_until
from tests.helpers.other_services import pgbouncer
from tests.helpers.sale import put_on_sale

PGBOUNCER = Path("/usr/sbin/pgbouncer")
WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE usename = 'seckill_app' AND wait_event_type = 'Lock'
    AND clock_timestamp() - query_start > interval '1500 ms'
"""

pytestmark = pytest.mark.direct


@pytest.fixture(params=["straight", "pooled"])
def dsn(
    role_dsn: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The role's address."""
    if request.param == "straight":
        yield role_dsn
        return
    if not PGBOUNCER.exists():
        pytest.skip("apt-get install pgbouncer")
    folder = tmp_path_factory.mktemp("pgbouncer")
    folder.chmod(0o755)
    with pgbouncer(PGBOUNCER, folder, role_dsn) as port:
        yield urlsplit(role_dsn)._replace(netloc=f"any@{HOST}:{port}").geturl()


@pytest.fixture
def owner(pg_dsn: str) -> Iterator[psycopg.Connection]:
    """Who gives and takes rights."""
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        yield connection


def refused(manage: Manage, dsn: str) -> str:
    """What a log worker says that does not start with this role."""
    worker = manage("run_log_worker", SECKILL_PG_DSN=dsn)
    said, _ = worker.communicate(timeout=120)
    assert worker.returncode == 2
    assert "Traceback" not in said
    return str(said)


def test_the_role_of_the_document_is_fit(dsn: str) -> None:
    said: list[str] = []
    check_postgres(dsn, said.append)
    assert said == []


def test_without_temporary_it_is_refused_at_the_start(
    dsn: str, owner: psycopg.Connection, manage: Manage, redis_client: "redis.Redis"
) -> None:
    name = owner.info.dbname
    owner.execute(f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC'.encode())
    try:
        with pytest.raises(Unfit, match="lacks rights: TEMPORARY on this database"):
            check_postgres(dsn, print)
        assert "TEMPORARY on this database" in refused(manage, dsn)
        # A command that counts says it too.
        put_on_sale(redis_client, {1001: 5})
        audit = manage("audit", SECKILL_PG_DSN=dsn)
        said, _ = audit.communicate(timeout=120)
        assert audit.returncode in (2, 3)
        assert "temporary tables" in said
        assert "Traceback" not in said
    finally:
        owner.execute(f'GRANT TEMPORARY ON DATABASE "{name}" TO PUBLIC'.encode())


def test_a_limit_too_short_for_any_statement_is_refused_at_the_start(
    dsn: str, owner: psycopg.Connection, manage: Manage
) -> None:
    owner.execute("ALTER ROLE seckill_app SET statement_timeout = '50ms'")
    with pytest.raises(Unfit, match=r"statement_timeout is 50 ms.*ALTER ROLE"):
        check_postgres(dsn, print)
    assert "statement_timeout is 50 ms" in refused(manage, dsn)


def test_what_takes_longer_than_the_roles_limits_is_done(
    dsn: str,
    pg_dsn: str,
    owner: psycopg.Connection,
    manage: Manage,
    redis_client: "redis.Redis",
) -> None:
    """The audit waits for a table longer than a statement of this role may take."""
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        owner.execute(f"ALTER ROLE seckill_app SET {limit} = '1s'".encode())
    check_postgres(dsn, print)
    act = manage("set_stock", "1001:5", SECKILL_PG_DSN=dsn)
    said, _ = act.communicate(timeout=120)
    assert act.returncode == 0, said
    with psycopg.connect(pg_dsn) as holder:
        holder.execute("LOCK TABLE seckill_record IN ACCESS EXCLUSIVE MODE")
        audit = manage("audit", SECKILL_PG_DSN=dsn)

        def waits_or_ended() -> bool:
            row = owner.execute(WAITS).fetchone()
            return audit.poll() is not None or bool(row and row[0])

        wait_until(waits_or_ended, 60, "it waits longer than its limit")
    said, _ = audit.communicate(timeout=120)
    assert audit.returncode == 0, said
