"""The door's HTTP protocol: what is not HTTP gets a problem too."""

import asyncio
import json

import pytest
import uvicorn
from uvicorn.server import ServerState

from seckill.web.door.protocol import LimitedProtocol


async def _app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("what is not a request never comes here")


async def _answer_to(sent: bytes) -> bytes:
    config = uvicorn.Config(_app, http=LimitedProtocol, lifespan="off", log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: LimitedProtocol(config, ServerState(), {}), "127.0.0.1", 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n",
        b"POST /v1/clicks HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_http_gets_a_problem(sent: bytes) -> None:
    head, _, body = asyncio.run(_answer_to(sent)).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 400 Bad Request"
    assert headers["content-type"] == "application/problem+json"
    assert (headers["connection"], headers["content-length"]) == ("close", str(len(body)))
    said = json.loads(body)
    assert (said["title"], said["status"]) == ("Bad Request", 400)
    assert "not an HTTP request" in said["detail"]
