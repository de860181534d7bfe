"""The demo shop: each visitor is another guest, whose token the door takes. And its ports."""

import http.client
import os
import re
import socket
import time
from pathlib import Path

import pytest
from django.core.management import CommandError

from demo.ports import port_of
from demo.shop import FIRST_GUEST, shop
from demo.till import Till
from devstack.state import free_port, keep_door_secrets
from seckill.config.layers import load
from seckill.config.sections import Door
from seckill.web.door.keys import keys_of
from seckill.web.door.token_maker import TokenMaker


def visit(port: int, path: str) -> tuple[int, str]:
    """Status and Location of one visit."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    line.request("GET", path)
    answer = line.getresponse()
    line.close()
    return answer.status, answer.getheader("Location") or ""


def ask(
    port: int, method: str, path: str, form: str | None = None, language: str = "en"
) -> tuple[int, str]:
    """Status and text of one call."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    line.request(method, path, form, {"Accept-Language": language})
    answer = line.getresponse()
    text = answer.read().decode()
    line.close()
    return answer.status, text


def test_each_visitor_is_a_guest_of_his_own_whom_the_door_knows(tmp_path: Path) -> None:
    keep_door_secrets(tmp_path)
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path)}
    section = load(Door, environ=environ)
    port = free_port(())
    with shop(port, TokenMaker.of(section), 7, Till("http://127.0.0.1:3001", "a key")):
        visits = [visit(port, "/") for _ in range(3)]
        assert visit(port, "/buy/7")[0] == 404
    guests = set()
    for status, location in visits:
        assert status == 303
        found = re.fullmatch(r"http://127\.0\.0\.1:3001/buy/7#token=(\S+)", location)
        assert found is not None
        guests.add(keys_of(section).tokens.verify(found[1], time.time()))
    assert len(guests) == 3
    assert min(guests) >= FIRST_GUEST


TICKET = "A" * 83


def test_the_pretend_payment_page(tmp_path: Path) -> None:
    """In the reader's language; a door that is away is told; nothing of the address is believed."""
    keep_door_secrets(tmp_path)
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path)}
    tokens = TokenMaker.of(load(Door, environ=environ))
    port = free_port(())
    with shop(port, tokens, 7, Till("http://127.0.0.1:1", "a key")):
        status, page = ask(port, "GET", f"/pay?ticket={TICKET}")
        assert (status, TICKET in page, "/buy/7" in page) == (200, True, True)
        assert 'value="paid"' in page
        _, chinese = ask(port, "GET", f"/pay?ticket={TICKET}", language="zh-CN,zh;q=0.9")
        assert "模拟付款" in chinese
        for path in ("/pay", "/pay?ticket=short", f"/pay?ticket={'<' * 83}"):
            assert ask(port, "GET", path)[0] == 404, path
        status, told = ask(port, "POST", "/pay", f"ticket={TICKET}&result=paid")
        assert (status, "did not take it" in told) == (200, True)
        for form in (f"ticket={TICKET}&result=won", "result=paid", "x" * 2000):
            assert ask(port, "POST", "/pay", form)[0] == 404, form


def test_no_two_processes_get_one_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        usual = taken.getsockname()[1]
        # It is taken already, or another one gets it a moment later.
        assert port_of(None, usual, "") != usual
        with pytest.raises(CommandError, match=rf"port {usual} is taken: .*--door-port"):
            port_of(usual, 3001, "--door-port")
    assert port_of(None, usual, "") == usual
    assert port_of(None, usual, "", {usual}) != usual
    with pytest.raises(CommandError, match="is taken"):
        port_of(usual, 3001, "--door-port", {usual})
