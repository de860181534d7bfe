"""What the start of docker-compose and of the chart waits for: migrate ends in any case."""

import psycopg

from tests.conftest import Manage
from tests.helpers.commands import Ended
from tests.unit.project.compose_file import environment as composed


def test_migrate_gives_up_a_lock(manage: Manage, pg_dsn: str) -> None:
    options = composed("migrate", {"POSTGRES_PASSWORD": "", "VALKEY_PASSWORD": ""})["PGOPTIONS"]
    assert options == "-c lock_timeout=60s"
    with psycopg.connect(pg_dsn) as holder:
        holder.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        ended = Ended(manage("migrate", "--noinput", PGOPTIONS=options.replace("60s", "1s")))
    assert ended.code != 0
    assert "lock timeout" in ended.output
    assert "Traceback" not in ended.output
    assert Ended(manage("migrate", "--noinput", PGOPTIONS=options)).code == 0
