"""Addresses with odd passwords, at every entry point: no error holds any part of them."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from seckill.config.layers import BASE_DIR

# A library would take these for: a port; a host; a database; a host.
PASSWORDS = ("7771#hunter2", "x@hunter2#y", "7771/hunter2", "x@hunter2?y")
COMMANDS = (
    ("status", "--once"),
    ("audit",),
    ("add_stock", "1001:1"),
    ("dead_letters", "list"),
    ("run_log_worker", "--connect-timeout", "0"),
    ("run_consumer", "--connect-timeout", "0"),
)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and all output of a process of `manage.py`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env={
            **inherited,
            "SECKILL_CONFIG": os.devnull,
            "SECKILL_DEVSTACK": str(folder),
            "SECKILL_SECRET_KEY": "only for tests",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def leaks(text: str) -> bool:
    """Whether a part of a password is in it; numbers stand alone, ports may hold these digits."""
    return "hunter2" in text or bool(re.search(r"\b7771\b", text))


@pytest.mark.parametrize("password", PASSWORDS)
def test_as_it_is_it_is_refused(password: str, nobody: str, tmp_path: Path) -> None:
    redis_url, dsn = f"redis://:{password}@{nobody}/0", f"postgresql://u:{password}@{nobody}/d"
    for arguments in (
        ("manage.py", "status", "--once", "--redis-url", redis_url),
        ("manage.py", "dead_letters", "list", "--brokers", f"u:{password}@{nobody}"),
        # Typing errors, which argparse repeats.
        ("manage.py", "status", "--redis_url", redis_url),
        ("manage.py", "activity", "list", dsn, "--pg_dsn", dsn),
    ):
        code, text = run(tmp_path, *arguments)
        assert (code, leaks(text), "Traceback" in text) == (2, False, False), text
    for name, value in (("SECKILL_REDIS_URL", redis_url), ("SECKILL_PG_DSN", dsn)):
        if name == "SECKILL_PG_DSN" and "@" not in password and "/" not in password:
            # libpq reads it as it is meant.
            continue
        code, text = run(tmp_path, "manage.py", "check", **{name: value})
        assert (code, leaks(text)) == (2, False), text
        assert text.startswith(f"configuration: {name}: cannot be read; ")
        code, text = run(tmp_path, "-c", "import seckill_project.wsgi", **{name: value})
        assert (code, leaks(text)) == (1, False), text


@pytest.mark.parametrize("arguments", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_in_percent_it_is_in_no_error(
    arguments: tuple[str, ...], nobody: str, tmp_path: Path
) -> None:
    """Nobody answers there: each says so, with the address and without the password."""
    written = quote("7771#hunter2@x/y?z", safe="")
    code, text = run(
        tmp_path,
        "manage.py",
        *arguments,
        SECKILL_REDIS_URL=f"redis://:{written}@{nobody}/0",
        SECKILL_PG_DSN=f"postgresql://u:{written}@{nobody}/d",
        SECKILL_BROKERS=nobody,
    )
    assert code in (2, 3), text
    assert nobody.rpartition(":")[2] in text
    assert (leaks(text), "Traceback" in text) == (False, False), text
