"""A role of PostgreSQL with the application's rights, and its address."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from seckill.config.rights import POSTGRES

PASSWORD = "hunter2"


@pytest.fixture
def role_dsn(pg_dsn: str) -> Iterator[str]:
    """The address of the role that the document makes."""
    with psycopg.connect(pg_dsn, autocommit=True) as owner:
        owner.execute(
            sql.SQL("CREATE ROLE seckill_app LOGIN PASSWORD {}").format(sql.Literal(PASSWORD))
        )
        for grant in POSTGRES["seckill_app"]:
            owner.execute(grant.format(role="seckill_app").encode())
        parts = urlsplit(pg_dsn)
        yield parts._replace(
            netloc=f"seckill_app:{PASSWORD}@{parts.hostname}:{parts.port}"
        ).geturl()
        owner.execute("DROP OWNED BY seckill_app")
        owner.execute("DROP ROLE seckill_app")
