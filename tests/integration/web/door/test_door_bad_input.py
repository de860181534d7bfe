"""What senders get wrong or mean badly, over real HTTP: refused in words, and the door goes on."""

import base64
import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jwt
import pytest
import redis

from tests.helpers.browser import FORM
from tests.helpers.door import KEYS, SECRET, TICKET_SECRET, OpenDoor, RunningDoor, token_of
from tests.helpers.sale import put_on_sale, waiting

ORDER = b'{"activity_id":1,"items":{"1001":1}}'


@pytest.fixture(autouse=True)
def _on_sale(redis_client: "redis.Redis") -> None:
    put_on_sale(redis_client, {1001: 5})


@contextmanager
def line_to(door: RunningDoor) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as line:
        yield line


def answer_on(line: socket.socket) -> str:
    """All that comes until the door closes the connection; "" if it only cuts it off."""
    told = b""
    try:
        while part := line.recv(65536):
            told += part
    except ConnectionResetError:
        pass
    return told.decode()


def head(*more: str, length: int | None = None) -> bytes:
    """The headers of a click."""
    lines = [
        "POST /v1/requests HTTP/1.1", "Host: door", f"Authorization: Bearer {token_of(1)}",
        f"Idempotency-Key: {uuid.uuid4().hex}", "Content-Type: application/json",
        "Connection: close", *more,
    ]  # fmt: skip
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _unsigned(kid: str) -> str:
    parts = {"alg": "none", "kid": kid}, {"sub": "1", "exp": int(time.time()) + 3600}
    texts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*texts, "AAAA"])


def _signed(secret: str, kid: str, algorithm: str = "HS256", **claims: Any) -> str:
    content = {"sub": "1", "exp": int(time.time()) + 3600, **claims}
    return jwt.encode(content, secret, algorithm=algorithm, headers={"kid": kid})


def bad_tokens() -> list[tuple[str, str]]:
    """Tokens, and what is said of each."""
    good = token_of(1)
    return [
        (_signed("x" * 40, "test"), "the token's signature is wrong"),
        (good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"), "signature"),
        (token_of(1, exp=1), "the token has expired"),
        (_unsigned("test"), "algorithm"),
        (_signed(SECRET * 2, "test", "HS512"), "algorithm"),
        (_signed(SECRET, "another"), "kid"),
        (token_of(1, sub="0"), "user id"),
        (token_of(1, nbf=2**40), "not valid yet"),
        (token_of(1, aud="somebody else"), "audience"),
        ("x" * 5000, "longer"),
        ("not-a-token", "not a JWT"),
    ]


@pytest.mark.usefixtures("consumer")
def test_what_is_forged_buys_nothing_and_no_secret_is_logged(
    door: RunningDoor, redis_client: "redis.Redis"
) -> None:
    tokens = [token for token, _ in bad_tokens()]
    for token, words in bad_tokens():
        for told in (
            door.click(Authorization=f"Bearer {token}"),
            door.ask("GET", "/v1/me/orders", None, {"Authorization": f"Bearer {token}"}),
        ):
            assert told.status == 401, words
            assert words in told.content["detail"]
            assert token not in json.dumps(told.content)
            assert told.headers["www-authenticate"] == "Bearer"
    assert waiting(redis_client) == []
    # The same key of two buyers is two clicks; each has a ticket of its own.
    first, second = (door.click(user, key="the-same-key", wait=20) for user in (7, 8))
    assert first.content["state"] == second.content["state"] == "accepted"
    tickets = [first.content["ticket"], second.content["ticket"]]
    assert {record["user_id"] for record in waiting(redis_client)} == {7, 8}
    # A ticket whose user, place or signature was changed is of nobody.
    raw = base64.urlsafe_b64decode(tickets[0] + "=")
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        text = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert door.answer(text).status == 404, place
    for text in (tickets[0] + "A", tickets[0][:-1], "%00" * 83, "..%2f" * 16, "A" * 20_000):
        assert door.answer(text).status in (404, 414), text[:20]
    door.click(9, {1001: 99}, key="a-refused-key", wait=20)
    ended = door.stop()
    assert (ended.code, "Traceback" in ended.output) == (0, False)
    said = "".join(door.said) + ended.output
    secrets = [SECRET, KEYS, TICKET_SECRET, "the-same-key", "a-refused-key", *tickets, *tokens]
    assert [secret for secret in [*secrets, token_of(7)] if secret in said] == []
    assert "Bearer" not in said


def test_bodies_that_are_too_long_too_deep_or_ambiguous(door: RunningDoor) -> None:
    long = b'{"activity_id":1,"items":{%s}}' % b",".join(b'"%d":1' % n for n in range(2000, 2600))
    for more, body, status in [
        (["Transfer-Encoding: chunked"], b"1388\r\n" + b" " * 5000 + b"\r\n0\r\n\r\n", "413"),
        ([f"Content-Length: {len(long)}"], long, "413"),
        (["Content-Length: 99999999"], b"", "413"),
        (["Content-Length: 99999999999999999999"], b"", "400"),
        (["Content-Length: 4000"], b"[" * 4000, "422"),
        ([f"Content-Length: {len(ORDER)}", "Content-Length: 3"], ORDER, "400"),
        (["Content-Length: -1"], ORDER, "400"),
        (["Transfer-Encoding: chunked", "Content-Length: 3"], ORDER, "400"),
    ]:
        with line_to(door) as line:
            line.sendall(head(*more) + body)
            told = answer_on(line)
        assert told.startswith(f"HTTP/1.1 {status} "), (more, told[:200])
    assert door.ask("GET", "/healthz").status == 200


def test_a_flood_of_headers_is_cut_off(door: RunningDoor) -> None:
    for flood in (
        b"X-A: " + b"a" * 2**20,
        b"".join(b"X-%d: y\r\n" % n for n in range(20_000)),
        b"Cookie: " + b"; ".join(b"c%d=1" % n for n in range(50_000)),
    ):
        with line_to(door) as line:
            try:
                line.sendall(b"GET /healthz HTTP/1.1\r\nHost: door\r\n" + flood + b"\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                continue
            assert " 200 " not in answer_on(line)
    assert door.ask("GET", "/healthz").status == 200


def test_who_sends_slowly_is_cut_off_and_nobody_waits_for_that(open_door: OpenDoor) -> None:
    door = open_door("--buyer-cookie", "shop")
    lines = (line_to(door) for _ in range(4))
    with ExitStack() as slow:
        silent, headers, body, form = (slow.enter_context(line) for line in lines)
        headers.sendall(b"POST /v1/requests HTTP/1.1\r\nHost: door\r\n")
        body.sendall(head(length=len(ORDER)) + ORDER[:-1])
        posted = head(f"Cookie: shop={token_of(1)}", "Origin: http://door", length=99)
        posted = posted.replace(b"/v1/requests", b"/buy/1")
        form.sendall(posted.replace(b"application/json", FORM.encode()) + b"key=")
        assert door.click(2).status == 202
        assert answer_on(silent) == answer_on(headers) == ""
        told, page = answer_on(body), answer_on(form)
    assert told.startswith("HTTP/1.1 408 ")
    assert "application/problem+json" in told
    # A person gets a page.
    assert page.startswith("HTTP/1.1 408 ")
    assert "text/html" in page
    assert 'data-name="broken"' in page


@pytest.mark.parametrize("behind", [True, False], ids=["proxy", "no proxy"])
def test_limits_follow_the_rightmost_hop_that_is_no_proxy(
    open_door: OpenDoor, behind: bool
) -> None:
    """Over real HTTP; the connection comes from 127.0.0.1, which is a proxy or is not."""
    door = open_door(
        "--proxy-networks", "127.0.0.0/8,10.0.0.0/8" if behind else "10.0.0.0/8",
        *("--address-rate", "0.001", "--address-burst", "2", "--user-rate", "0"),
    )  # fmt: skip

    def statuses(*hops: str) -> list[int]:
        return [
            door.ask("GET", "/v1/activities/1", None, {"X-Forwarded-For": hop}).status
            for hop in hops
        ]

    # What stands left of the caller's own hop may be its invention.
    mine = [f"198.51.100.{n}, 203.0.113.7, 10.0.0.{n}" for n in range(4)]
    assert statuses(*mine) == [200, 200, 429, 429]
    others = ["203.0.113.8, 10.0.0.5", "203.0.113.7, 203.0.113.9", "[2001:db8::1]:443"]
    assert statuses(*others) == ([200, 200, 200] if behind else [429, 429, 429])
    # One caller of IPv6 is a network.
    assert statuses("2001:db8::2", "2001:db8::3") == ([200, 429] if behind else [429, 429])
