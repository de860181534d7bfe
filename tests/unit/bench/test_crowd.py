"""The bench's crowd against small servers: every answer goes to its question, none is made up."""

import asyncio

import pytest

from bench.crowd import Crowd
from devstack.endpoints import HOST, DevstackError


async def served(crowd: Crowd, answer: bytes = b"", *, closes: bool = False) -> Crowd:
    """The crowd, played at a server that says what it was asked, or `answer` the first time."""
    said = [answer] if answer else []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()) and not closes:
            body = said.pop() if said else line.strip()
            text = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            # In two parts, as a slow network brings it.
            writer.write(text[:20])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(text[20:])
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, HOST, 0)
    try:
        await crowd.play(server.sockets[0].getsockname()[1])
    finally:
        # The crowd has closed its lines by now.
        await ended.wait()
        server.close()
        await server.wait_closed()
    return crowd


def test_each_question_has_its_own_answer() -> None:
    asked = [b"%d\n" % n for n in range(100)]
    crowd = asyncio.run(served(Crowd(asked, 7)))
    assert crowd.bodies == [question.strip() for question in asked]
    assert crowd.statuses == {200: 100}
    assert min(crowd.took_s) > 0
    assert max(crowd.took_s) <= crowd.seconds


def test_a_time_counts_from_when_a_question_was_due() -> None:
    # One connection: all but the first question wait for it, which is part of their time.
    crowd = asyncio.run(served(Crowd([b"a\n"] * 50, 1, due=[0.0] * 50)))
    assert crowd.took_s == sorted(crowd.took_s)
    assert crowd.percentile_ms(0.99) == max(crowd.took_s) * 1000


def test_an_answer_that_does_not_count_is_asked_again() -> None:
    crowd = Crowd([b"a\n"], 1, again=lambda body: body == b"waiting")
    asyncio.run(served(crowd, b"waiting"))
    assert (crowd.bodies, crowd.statuses) == ([b"a"], {200: 2})


def test_a_line_that_is_closed_is_no_answer() -> None:
    with pytest.raises(DevstackError, match="closed the line"):
        asyncio.run(served(Crowd([b"a\n"], 1), closes=True))
