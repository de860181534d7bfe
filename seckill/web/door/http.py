"""The little of HTTP that the door needs on bare ASGI: bodies, headers, JSON, problems."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from random import random
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON, PROBLEM = b"application/json", b"application/problem+json"
# Bytes of a body, and seconds in which it must be complete.
MAX_BODY, BODY_S = 4096, 10.0

to_json = msgspec.json.Encoder().encode


class Problem(Exception):
    """A refusal: the answer is `application/problem+json`. `more` are further members."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after_s: float | None = None,
        allow: tuple[str, ...] = (),
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.allow = allow
        self.status, self.detail, self.more = status, detail, more
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def json_response(
    status: int, content: object, headers: list[tuple[bytes, bytes]] | None = None
) -> Response:
    """An answer in JSON."""
    return Response(status, to_json(content), JSON, headers or [(b"cache-control", b"no-store")])


def problem_response(problem: Problem) -> Response:
    """The answer for a refusal."""
    headers = [(b"cache-control", b"no-store")]
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after(problem.retry_after_s)))
    if problem.allow:
        headers.append((b"allow", ", ".join(problem.allow).encode()))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    body = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.more,
    }
    return Response(problem.status, to_json(body), PROBLEM, headers)


def only(method: str, *allowed: str) -> None:
    """Raises Problem 405 for any other method."""
    if method not in allowed:
        raise Problem(405, f"use {' or '.join(allowed)} here", allow=allowed)


def preflight() -> Response:
    """The answer to OPTIONS, before a browser calls from a page of another origin."""
    headers = [
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type, idempotency-key, prefer"),
        (b"access-control-expose-headers", b"location, retry-after"),
        (b"access-control-max-age", b"600"),
    ]
    return Response(204, b"", headers=headers)


def peer_of(scope: Scope) -> str:
    """The address at the other end of the connection; "" if it has none."""
    client = scope.get("client")
    return client[0] if client else ""


def retry_after(seconds: float) -> int:
    """Whole seconds, with jitter, so that those who were refused together do not return
    together.
    """
    return max(1, round(seconds * (1 + random())))


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers by lower-case name. A name that comes twice counts once: the last."""
    return dict(scope["headers"])


def all_of(scope: Scope, name: bytes) -> str:
    """All headers of this name, joined with commas."""
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")


async def body_of(receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """The complete body. Raises Problem: 413, 408."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise Problem(413, f"a request has at most {MAX_BODY:,} bytes")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Problem(400, "the connection was closed before the body was complete")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    raise Problem(413, f"a request has at most {MAX_BODY:,} bytes")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, f"the body was not complete within {BODY_S:.0f} s") from None


async def respond(send: Send, response: Response, more: list[tuple[bytes, bytes]]) -> None:
    """Send an answer; `more` headers are added."""
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (b"content-type", response.content_type),
                (b"content-length", b"%d" % len(response.body)),
                *response.headers,
                *more,
            ],
        }
    )
    await send({"type": "http.response.body", "body": response.body})
