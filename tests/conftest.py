"""Fixtures of all tests. Real services, started once a session, in a folder that goes afterwards.

Unit tests ask for none of them and run without any service.
"""

import contextlib
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import redis
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from pytest_django import DjangoDbBlocker

from devstack.endpoints import HOST, Endpoints
from devstack.stack import Stack
from seckill.broker.topics import Topics
from seckill.config.layers import BASE_DIR, load
from seckill.config.sections import Server
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from tests.helpers.emptied import counted, emptied_quickly
from tests.helpers.forge import Forge, Forked, key_of
from tests.helpers.other_services import pgbouncer, use_redis_server

pytest_plugins = ["tests.faults.opening"]

PARTITIONS = 2
# Tests name the time that a quiet machine needs at most. A busy one has so many times as long: a
# condition that is met ends its wait, so nothing but a failure takes longer for that.
PATIENCE = 4
# Folders of tests that take a minute and more.
LONG = ("tests/search", "tests/faults")
# The folder of services that run already, for many sessions in a row (`make mutants`).
THEIR_SERVICES = "TEST_SERVICES"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Other services than the embedded ones (`make test-services`)."""
    parser.addoption("--redis-server", help="binary of a Redis, in the place of Valkey")
    parser.addoption("--pgbouncer", help="binary of a pgbouncer, put before PostgreSQL")


def pytest_configure() -> None:
    """One seed for the fault tests, whichever of the test run's processes they run in.

    Hypothesis tries the same examples each time, and none is too slow: the machine may be.
    """
    hypothesis.settings.register_profile(
        "suite",
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("suite")
    if not os.environ.get("FAULT_SEED"):
        os.environ["FAULT_SEED"] = str(random.randrange(1_000_000))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips tests that change a role, or end a session, where they mean their own one; and sorts.

    pytest-django begins with the tests of a database; `make mutants` with the nearest ones. Several
    processes begin with the long ones: a long test at the end would run alone.
    """
    if config.getoption("--pgbouncer"):
        skip = pytest.mark.skip(reason="sessions behind a pgbouncer are nobody's own")
        for item in items:
            if item.get_closest_marker("direct"):
                item.add_marker(skip)

    def place(item: pytest.Item) -> int:
        named = (n for n, name in enumerate(config.args) if item.nodeid.startswith(name))
        return next(named, 0)

    if THEIR_SERVICES in os.environ:
        items.sort(key=place)
    elif hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How to break the same things at the same moments again."""
    terminalreporter.write_line(f"FAULT_SEED={os.environ['FAULT_SEED']} replays the fault tests")


def wait_until(predicate: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The first true answer of the predicate. PATIENCE times `timeout_s` without: a failed test."""
    limit_s = timeout_s * PATIENCE
    deadline = time.monotonic() + limit_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def devstack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session's services live: those of TEST_SERVICES, or a folder of its own."""
    theirs = os.environ.get(THEIR_SERVICES)
    return Path(theirs) if theirs else tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def running_stack(devstack_folder: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The services themselves, for tests that stop and start them."""
    redis_server = request.config.getoption("--redis-server")
    if redis_server:
        use_redis_server(Path(redis_server))
    stack = Stack(devstack_folder)
    if THEIR_SERVICES in os.environ:
        yield stack
        return
    stack.up(owner_pid=os.getpid())
    yield stack
    stack.remove()


@pytest.fixture(scope="session")
def stack(running_stack: Stack) -> Endpoints:
    """Addresses of the session's services; Django's cache is pointed at its Redis."""
    endpoints = running_stack.endpoints()
    assert endpoints is not None
    settings.CACHES["default"]["LOCATION"] = endpoints.redis_url
    return endpoints


@pytest.fixture(scope="session")
def django_db_modify_db_settings(stack: Endpoints) -> None:
    """pytest-django's hook before it makes the test database: use the session's PostgreSQL."""
    parts = conninfo_to_dict(stack.pg_dsn)
    settings.DATABASES["default"].update(
        NAME=parts["dbname"],
        USER=parts["user"],
        PASSWORD=parts["password"],
        HOST=parts["host"],
        PORT=str(parts["port"]),
    )


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database, which each test leaves empty."""
    with django_db_blocker.unblock():
        filled = counted()
    with emptied_quickly(filled):
        yield


@pytest.fixture(scope="session")
def pooled(
    stack: Endpoints,
    django_db_setup: None,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[str]:
    """PostgreSQL's address, or that of a pgbouncer before it where one was asked for."""
    binary = request.config.getoption("--pgbouncer")
    if not binary:
        yield stack.pg_dsn
        return
    with pgbouncer(Path(binary), tmp_path_factory.mktemp("pgbouncer"), stack.pg_dsn) as port:
        yield urlsplit(stack.pg_dsn)._replace(netloc=f"any@{HOST}:{port}").geturl()


@pytest.fixture
def pg_dsn(pooled: str, transactional_db: None) -> str:
    """The test database's address, for workers. Rows are committed and removed after the test."""
    return pooled.rpartition("/")[0] + "/" + str(settings.DATABASES["default"]["NAME"])


@pytest.fixture
def redis_client(stack: Endpoints, request: pytest.FixtureRequest) -> Iterator["redis.Redis"]:
    """A client of an empty Redis. After the test no key of the sale may have a time to live.

    The turn to audit and the buckets of the rate limit hold nothing of the sale, and have to end
    by themselves.
    """
    client = connect(stack.redis_url)
    # Commands look at it. Without any, nobody loses power, and each write would wait for the disk.
    if "environment" not in request.fixturenames:
        client.config_set("appendfsync", "no")
    client.flushall()
    yield client
    for key in client.scan_iter(match="*seckill:logs*"):
        ends = key.endswith(b":audit:turn") or b"}:rate:" in key
        assert ends or client.ttl(key) == -1, f"{key!r} would expire"
    client.flushall()
    client.config_set("appendfsync", "always")
    client.close()


@pytest.fixture
def lane() -> Lane:
    """The default lane."""
    return Lane()


@pytest.fixture(params=["kafka-python", "confluent-kafka"])
def kafka_client(request: pytest.FixtureRequest) -> str:
    """Each of the two Kafka clients."""
    return str(request.param)


@pytest.fixture
def server(stack: Endpoints) -> Server:
    """Section `server` on the session's services, with a topic and group of its own."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    return load(
        Server,
        {
            "brokers": stack.brokers,
            "redis_url": stack.redis_url,
            "pg_dsn": stack.pg_dsn,
            "topic": name,
            "group_id": name,
            "connect_timeout": 60,
        },
        {},
    )


@pytest.fixture
def topics(server: Server) -> Iterator[Topics]:
    """Questions to Kafka; the test's topic exists, and goes after the test."""
    with Topics(server, bootstrap_timeout_s=60) as topics:
        topics.ensure(server.topic, PARTITIONS)
        yield topics
        topics.delete(server.topic)


@pytest.fixture
def kafka_topic(server: Server, topics: Topics) -> str:
    """The name of a fresh topic."""
    return server.topic


@pytest.fixture
def environment(stack: Endpoints, pg_dsn: str, tmp_path: Path) -> dict[str, str]:
    """What commands as processes of their own need to use the session's services."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")}
    return {
        **inherited,
        **stack.as_env(),
        "SECKILL_PG_DSN": pg_dsn,
        "SECKILL_CONFIG": os.devnull,
        "SECKILL_DEVSTACK": str(tmp_path / "no-devstack"),
        "SECKILL_SECRET_KEY": "only for tests",
        "PYTHONUNBUFFERED": "1",
        # kafka-python reads its schemas so.
        "PYTHONWARNINGS": "error,ignore:read_text:DeprecationWarning,"
        "ignore:open_text:DeprecationWarning",
    }


Manage = Callable[..., Forked]


@pytest.fixture(scope="session")
def forges() -> Iterator[dict[frozenset[tuple[str, str]], Forge]]:
    """What forks the commands of `manage`, by what Python reads when it starts."""
    forges: dict[frozenset[tuple[str, str]], Forge] = {}
    yield forges
    for forge in forges.values():
        forge.close()


@pytest.fixture
def manage(
    environment: dict[str, str], forges: dict[frozenset[tuple[str, str]], Forge]
) -> Iterator[Manage]:
    """Start `manage.py` with arguments as a real process; whatever still runs is killed after.

    With "-m" first it is a module, as Python runs it. Each leads a process group of its own: tests
    signal it as a terminal does, with its children.
    """
    started: list[Forked] = []

    def start(*arguments: str, **variables: str) -> Forked:
        wanted = {**environment, **variables}
        key = key_of(wanted)
        if key not in forges:
            forges[key] = Forge(wanted, BASE_DIR)
        started.append(forges[key].start(list(arguments), wanted))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
