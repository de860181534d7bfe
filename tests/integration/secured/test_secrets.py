"""No password is in what anybody sees: errors of every kind, tracebacks, pages, process lists."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.views.debug import get_exception_reporter_filter, technical_500_response

from devstack.state import State
from seckill.config.layers import BASE_DIR, load
from seckill.config.sections import Server
from seckill.events.targets import Target
from seckill.lane.client import connect
from seckill.process.exit_codes import UNREACHABLE
from tests.conftest import wait_until
from tests.faults.command import stop
from tests.helpers.door import KEYS, TICKET_SECRET
from tests.helpers.secured import SecuredSale, secrets_of
from tests.helpers.tls_server import unsigned_server

# A password that is none of the stack's.
WRONG = "hunter2"
# {service: commands that fail on it}
COMMANDS = {
    "Kafka": (
        ("run_consumer", "--kafka-client", "kafka-python", "--connect-timeout-s", "0"),
        ("run_consumer", "--kafka-client", "confluent-kafka", "--connect-timeout-s", "0"),
        ("run_door", "--port", "0", "--connect-timeout-s", "0"),
    ),
    "Redis": (("run_log_worker", "--connect-timeout-s", "0"), ("status", "--once")),
    "PostgreSQL": (
        ("run_log_worker", "--connect-timeout-s", "0", "--log-format", "json"),
        ("activity", "list"),
    ),
}
DOOR = {"SECKILL_BUYER_KEYS": KEYS, "SECKILL_TICKET_SECRET": TICKET_SECRET}
Variables = dict[str, str]


@pytest.fixture(scope="module")
def unsigned() -> Iterator[str]:
    """Where a server is whose certificate nobody has signed."""
    with unsigned_server() as address:
        yield address


def at(url: str, place: str) -> str:
    """The address with the same user and password at another place."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{place}").geturl()


def wrong_password(known: Variables, service: str, unsigned: str) -> Variables:
    """The service answers, and refuses."""
    return {
        "SECKILL_SASL_PASSWORD": WRONG,
        **{
            name: known[name].replace(f":{urlsplit(known[name]).password}@", f":{WRONG}@")
            for name in ("SECKILL_REDIS_URL", "SECKILL_PG_DSN")
        },
    }


def away(known: Variables, service: str, unsigned: str) -> Variables:
    """Nobody answers."""
    return {
        "SECKILL_BROKERS": "127.0.0.1:1",
        "SECKILL_REDIS_URL": at(known["SECKILL_REDIS_URL"], "127.0.0.1:1"),
        "SECKILL_PG_DSN": at(known["SECKILL_PG_DSN"], "127.0.0.1:1"),
    }


def tls(known: Variables, service: str, unsigned: str) -> Variables:
    """The wrong certificate; PostgreSQL has none."""
    redis_url = at(known["SECKILL_REDIS_URL"], unsigned)
    return {
        "SECKILL_BROKERS": unsigned,
        "SECKILL_REDIS_URL": f"rediss{redis_url.removeprefix('redis')}",
        "SECKILL_PG_DSN": f"{known['SECKILL_PG_DSN']}?sslmode=require",
    }


# The parameters of each service's address and password.
OWN = {
    "Kafka": ("SECKILL_BROKERS", "SECKILL_SASL_PASSWORD"),
    "Redis": ("SECKILL_REDIS_URL",),
    "PostgreSQL": ("SECKILL_PG_DSN",),
}


@pytest.mark.parametrize("case", [wrong_password, away, tls])
@pytest.mark.parametrize("service", COMMANDS)
def test_errors_of_services(
    secured: SecuredSale,
    unsigned: str,
    service: str,
    case: Callable[[Variables, str, str], Variables],
) -> None:
    """One of them has something wrong; the others are as they should be."""
    known = secured.environment("run_consumer")
    changed = {k: v for k, v in case(known, service, unsigned).items() if k in OWN[service]}
    started = [secured.start(*command, **DOOR, **changed) for command in COMMANDS[service]]
    for command in started:
        assert command.ended(60) == UNREACHABLE, command.output
        assert service in command.output
        assert "Traceback" not in command.output
    nothing_leaks(secured)


def nothing_leaks(secured: SecuredSale, *texts: str) -> None:
    """In logs, process lists, output of commands, and these texts."""
    for secret in (WRONG, *secrets_of(secured.stack)):
        for text in (*texts, *secured.shown()):
            assert secret not in text, text


@pytest.mark.parametrize("place", ["main", "thread", "log", "child"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_bug_whose_error_has_an_address(
    secured: SecuredSale, place: str, log_format: str
) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.helpers.buggy", place],
        env={**secured.environment("run_consumer"), "SECKILL_LOG_FORMAT": log_format},
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout
    # Whose and where it is, everybody may know.
    assert f"redis://{urlsplit(secured.endpoints('run_consumer').redis_url).username}:***@" in said
    assert "Traceback" in said
    nothing_leaks(secured, said)


def test_no_object_shows_them(secured: SecuredSale) -> None:
    """As a traceback with variables, a debugger or a log would."""
    server = load(Server, environ=secured.environment("run_consumer"))
    client = connect(server.redis_url)
    state = State.load(secured.stack.folder)
    target = Target("shop", f"https://shop.example/{WRONG}", (WRONG,))
    nothing_leaks(secured, *map(repr, (server, client, client.connection_pool, state, target)))
    with pytest.raises(ValueError) as wrong:
        Server(sasl_mechanism="PLAIN", sasl_password=WRONG)
    nothing_leaks(secured, str(wrong.value))
    client.close()


@pytest.mark.django_db
def test_pages(secured: SecuredSale, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's page of an error with `SECKILL_DEBUG=1`, and the admin's."""
    known = secured.endpoints("run_consumer")
    monkeypatch.setitem(settings.CACHES["default"], "LOCATION", known.redis_url)
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", urlsplit(known.pg_dsn).password)
    monkeypatch.setattr(settings, "DEBUG", True)
    get_exception_reporter_filter.__globals__["get_default_exception_reporter_filter"].cache_clear()
    sent = {"username": "boss", "password": WRONG}
    # `runserver` gives each request the environment.
    request = RequestFactory().post("/admin/", sent, **secured.environment("run_consumer"))
    page = page_of_a_bug(request, known.redis_url, known.pg_dsn)
    assert "page_of_a_bug" in page
    nothing_leaks(secured, page)
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    for path in ("/admin/", "/admin/seckill/activity/", "/admin/nothing/", "/docs"):
        nothing_leaks(secured, boss.get(path).content.decode())


def page_of_a_bug(request: HttpRequest, redis_url: str, dsn: str) -> str:
    """What a browser sees of it."""
    client = {"address": redis_url}
    try:
        raise RuntimeError(f"a bug of {len(client)}")
    except RuntimeError:
        answer: HttpResponse = technical_500_response(request, *sys.exc_info())
        return answer.content.decode()


def test_process_lists(secured: SecuredSale) -> None:
    """Command lines of each process that a command starts, below and beside it."""
    started = (
        secured.start("run_consumer", "--consumers", "2", "--status-interval", "0.5"),
        secured.start("run_log_worker"),
        secured.start("run_door", "--port", "0", "--processes", "2", **DOOR),
    )
    for command, said in zip(started, ("consumers 2", "log worker", "http"), strict=True):
        command.wait_for(said, 60)

    def family() -> list[psutil.Process]:
        return [p for c in started for p in psutil.Process(c.pid).children(recursive=True)]

    # Two consumers, who asks for the group's members, two of the door.
    wait_until(lambda: len(family()) >= 5, 30, "all processes run")
    nothing_leaks(secured)
    assert not any(TICKET_SECRET in line for line in secured.shown())
    stop(*started)
