"""Starts `manage.py`, and programs of the tests, with all libraries there already: `Forge` in a
test's process, and below it the process that has imported them and is forked for each command.

A command is a process like any other: its own id, session, signals, environment and output, and
all of the project's own code is loaded anew. Only the libraries are there already, which take most
of a second. Whatever the interpreter or a library reads when it starts (`READ_AT_START`) is the
same for all commands of one forge.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

# Beginnings of the names of variables that are read before any code of ours runs.
READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "MALLOC_", "LD_", "SSL_", "OPENSSL_")
# What most commands import, without the project's settings.
LIBRARIES = (
    "yaml", "msgspec", "pydantic_settings", "redis.asyncio", "psycopg", "kafka.admin",
    "confluent_kafka.admin", "rich.live", "rich.table", "multiprocessing.spawn", "asyncio",
    "django.core.management", "django.db.backends.postgresql.base", "django.db.migrations",
    "django.template.backends.django", "django.views.generic", "django.test", "waitress.server",
    "prometheus_client", "aiohttp", "jwt.algorithms", "uvloop",
    "uvicorn.protocols.http.httptools_impl",
)  # fmt: skip
MOST_BYTES = 1 << 20


class Forked:
    """A process as `subprocess.Popen` shows one, as far as tests look at it.

    Its output comes as UTF-8; what is none is shown as Python does.
    """

    def __init__(self, args: Sequence[str], line: socket.socket, stdout: TextIO) -> None:
        self.args, self.stdout = list(args), stdout
        self.returncode: int | None = None
        # The most memory that it had, or one of its children that it has awaited. Once it ended.
        self.peak_mb = 0
        self._line, self._lock = line, threading.Lock()
        self._reader: threading.Thread | None = None
        self._output = ""
        self.pid = self._heard()[0]

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as there is one. Raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it says from now on until nobody holds its output. Raises TimeoutExpired."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        return self._output, None

    def send_signal(self, number: int) -> None:
        """Signal it alone, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read(self) -> None:
        with self.stdout:
            self._output = self.stdout.read()

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
                self.returncode, peak_kib = self._heard()
                self.peak_mb = peak_kib >> 10
                self._line.close()
        return self.returncode

    def _heard(self) -> list[int]:
        said = self._line.recv(64)
        if not said:
            raise EOFError("who watches the command is gone")
        return [int(number) for number in said.split()]


# As tests hold a command, whoever started it.
Process = Forked | subprocess.Popen[str]


class Forge:
    """The forked process, and how it is asked. It ends with the process that made it."""

    def __init__(self, environment: Mapping[str, str], project: Path) -> None:
        self._project = project
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=environment,
                cwd=project,
                stdin=subprocess.DEVNULL,
                # Pipes, as the commands have: Python looks at what its output is.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )

    def start(self, arguments: list[str], environment: Mapping[str, str]) -> Forked:
        """`manage.py` with these arguments, or `-m` and a module, in the project's folder."""
        script = [] if arguments[:1] == ["-m"] else [str(self._project / "manage.py")]
        command = [*script, *arguments]
        order = (
            [_sent(word) for word in command],
            [(_sent(name), _sent(value)) for name, value in environment.items()],
        )
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reads, writes = os.pipe()
        output = os.fdopen(reads, encoding="utf-8")
        try:
            with theirs, os.fdopen(writes, "wb"):
                files = [theirs.fileno(), writes]
                socket.send_fds(self._line, [json.dumps(order).encode()], files)
            return Forked([sys.executable, *command], line, output)
        except (EOFError, ConnectionError):
            line.close()
            output.close()
            said, _ = self._process.communicate()
            raise RuntimeError(f"what starts the commands has ended:\n{said}") from None

    def close(self) -> None:
        """End it. Commands that still run go on."""
        self._line.close()
        with self._process:
            pass


def key_of(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """What a forge has in common with each of its commands."""
    return frozenset((n, v) for n, v in environment.items() if n.startswith(READ_AT_START))


def _sent(word: str) -> str:
    """The bytes of a word, each as a character: the receiver may live in another locale."""
    return os.fsencode(word).decode("latin-1")


def _serve(line: socket.socket) -> None:
    """Fork for each order: the command, and before it the one who awaits its end."""
    # This folder has names of its own.
    del sys.path[0]
    for name in LIBRARIES:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a library has a thread, which no fork takes along"
    gc.collect()
    gc.freeze()
    watching = 0
    while True:
        order, files, *_ = socket.recv_fds(line, MOST_BYTES, 2)
        if not order:
            return
        # Those who have told the end of a command.
        while watching and os.waitpid(-1, os.WNOHANG)[0]:
            watching -= 1
        watching += 1
        if os.fork() == 0:
            line.close()
            _watch(order, *files)
            return
        for file in files:
            os.close(file)


def _watch(order: bytes, report: int, output: int) -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(report, str(os.getpid()).encode())
        os.close(report)
        _become(order, output)
        return
    os.close(output)
    _, status, usage = os.wait4(pid, 0)
    os.write(report, f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}".encode())
    os._exit(0)


def _become(order: bytes, output: int) -> None:
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    words, variables = json.loads(order)
    os.environb.clear()
    os.environb.update({n.encode("latin-1"): v.encode("latin-1") for n, v in variables})
    sys.argv = [os.fsdecode(word.encode("latin-1")) for word in words]
    sys.path.insert(0, str(Path.cwd()))
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        _serve(orders)
