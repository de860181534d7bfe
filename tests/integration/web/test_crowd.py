"""Connections that never send a whole request lock nobody out of the web process."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from seckill.config.addresses import networks
from seckill.process.shutdown import Shutdown
from seckill.web import crowd as web_crowd
from seckill.web import server as web_server
from seckill.web.callers import Callers
from seckill.web.sockets import listen
from tests.conftest import wait_until

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"
# Connections from all of loopback come to it, and each test says whose count.
MANY = 600
Serve = Callable[..., int]


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start the server in a thread; its port."""
    with ExitStack() as ends:

        def start(answer: Any = application, **rules: Any) -> int:
            bound = listen("127.0.0.1", 0)
            # Else the kernel takes the whole of a long answer, and nobody waits for its client.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            port = int(bound.getsockname()[1])
            shutdown = Shutdown()
            thread = threading.Thread(
                target=web_server.serve, args=(answer, bound, 2, shutdown), kwargs=rules
            )
            thread.start()
            ends.callback(thread.join)
            ends.callback(shutdown.request)
            return port

        yield start


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))


def is_answered(client: socket.socket) -> bool:
    """Whether the whole answer comes; not if the connection is closed instead."""
    answer = b""
    try:
        while not answer.endswith(b"\r\n\r\nok"):
            more = client.recv(4096)
            if not more:
                return False
            answer += more
    except ConnectionError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


def ask(port: int, source: str = "127.0.0.1") -> bool:
    """Whether a whole request is answered, on a connection of its own."""
    with connect(port, source) as client:
        client.sendall(WHOLE)
        return is_answered(client)


@pytest.mark.parametrize("begin", [b"", HALF, b"GET"], ids=["idle", "half", "a word"])
def test_hundreds_of_half_requests_lock_nobody_out(
    serve: Serve, begin: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """All of one address and without a limit of it: the total alone holds them."""
    port = serve()
    with ExitStack() as crowd, caplog.at_level(logging.WARNING):
        for _ in range(MANY):
            crowd.enter_context(connect(port)).sendall(begin)
        assert ask(port)
        assert ask(port, "127.0.0.9")
    told = [r for r in caplog.records if getattr(r, "event", "") == "connections-refused"]
    # A flood of connections is a line, not a flood of lines.
    assert len(told) == 1
    assert "closed to make room at the total of 500" in told[0].getMessage()


def test_one_that_is_served_makes_no_room(serve: Serve) -> None:
    """The one whose answer is under way stays, as do those that began after the others."""
    began, finish = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            began.set()
            assert finish.wait(60)
        return application(environ, start_response)

    port = serve(slow)
    with ExitStack() as crowd:
        crowd.callback(finish.set)
        served = crowd.enter_context(connect(port))
        served.sendall(WHOLE.replace(b" / ", b" /slow "))
        assert began.wait(60)
        for _ in range(MANY):
            crowd.enter_context(connect(port)).sendall(HALF)
        last = crowd.enter_context(connect(port))
        last.sendall(HALF)
        assert ask(port)
        finish.set()
        assert is_answered(served)
        last.sendall(b"\r\n")
        assert is_answered(last)


def test_answers_that_nobody_takes_make_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole requests this time: their clients read nothing of what they get."""
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 50)
    monkeypatch.setattr(web_crowd, "STUCK_S", 0.1)
    monkeypatch.setattr(web_crowd, "REQUEST_S", 1000)
    long = b"x" * 400_000

    def much(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/much":
            start_response("200 OK", [("Content-Length", str(len(long)))])
            return [long]
        return application(environ, start_response)

    port = serve(much)
    with ExitStack() as crowd:
        for _ in range(70):
            client = crowd.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
                client.sendall(WHOLE.replace(b" / ", b" /much "))
                # Its answer is under way.
                client.recv(1)
            except (TimeoutError, ConnectionError):
                # It stands in the queue, as the next one would for ever.
                continue
        wait_until(lambda: ask(port), 20, "somebody else is answered")


def test_an_address_holds_so_many(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    port = serve(per_address=20, proxies=networks("127.0.7.0/24, ::1"))
    with ExitStack() as crowd, caplog.at_level(logging.WARNING):
        held = [crowd.enter_context(connect(port)) for _ in range(20)]
        for client in held:
            client.sendall(HALF)
        with connect(port) as refused:
            assert refused.recv(4096) == web_crowd.REFUSAL
        # Others are served, and a proxy brings as many as it likes.
        assert ask(port, "127.0.0.2")
        for _ in range(40):
            crowd.enter_context(connect(port, "127.0.7.1"))
        assert ask(port, "127.0.7.1")
        # Who ends one may have another.
        held.pop().close()
        wait_until(lambda: ask(port), 10, "its place is free again")
        for client in held:
            client.sendall(b"\r\n")
            assert is_answered(client)
    assert caplog.text.count("refused, because their address has too many") == 1
    assert "127.0.0.1, which holds 20" in caplog.text


def test_what_never_comes_whole_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where bytes come all the time; what is kept open between two requests has longer."""
    monkeypatch.setattr(web_crowd, "REQUEST_S", 0.5)
    port = serve()
    with connect(port) as kept, connect(port) as silent, connect(port) as slow:
        kept.sendall(WHOLE)
        assert is_answered(kept)
        slow.sendall(HALF)
        assert silent.recv(4096) == b""
        slow.settimeout(0.05)

        def trickle() -> bool:
            """One more header; whether the other side is gone."""
            try:
                slow.sendall(b"X: y\r\n")
                return slow.recv(4096) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(trickle, 20, "the one that trickles is closed")
        kept.sendall(WHOLE)
        assert is_answered(kept)
        kept.sendall(HALF)
        assert kept.recv(4096) == b""


def test_callers_are_told_apart() -> None:
    server: Any = SimpleNamespace(per_address=1, callers=Callers(networks("10.0.0.0/8")))

    def caller(host: str) -> Any:
        return web_crowd.Server._caller(server, host)

    assert caller("1.2.3.4") == caller("::ffff:1.2.3.4") != caller("1.2.3.5")
    # The rest of an IPv6 address is its owner's to choose.
    assert caller("2001:db8::1") == caller("2001:db8::ffff") != caller("2001:db8:0:1::1")
    assert caller("fe80::1%eth0") is not None
    assert caller("10.1.2.3") is None
    server.per_address = 0
    assert caller("1.2.3.4") is None


def test_who_makes_room_first() -> None:
    """Those that owe the rest of a request, then those that may send another."""

    def channel(name: str, since: float | None, last: float, *, served: bool = False) -> Any:
        made = SimpleNamespace(waits_since=since, last_activity=last, addr=(name, 1))
        made.is_stuck = lambda now, seconds: False
        made.waits = not served
        made.handle_close = lambda: closed.append(name)
        return made

    closed: list[str] = []
    new = channel("the one that came", 0.1, 0.1)
    channels = [
        new,
        channel("kept", None, 1.0),
        channel("served", 0.5, 1.0, served=True),
        channel("young", 9.0, 9.0),
        channel("old", 2.0, 9.0),
    ]
    for _ in range(4):
        server: Any = SimpleNamespace(
            active_channels={n: c for n, c in enumerate(channels) if c.addr[0] not in closed},
            _closed=0,
            _map=[None] * 9,
            adj=SimpleNamespace(connection_limit=9),
            _tell=lambda last: None,
        )
        web_crowd.Server._make_room(server, new)
    assert closed == ["old", "young", "kept"]
