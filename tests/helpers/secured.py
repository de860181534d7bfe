"""A sale on secured services: each command as a process with its own users and their rights."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import redis

from devstack import certificates
from devstack.endpoints import HOST, Endpoints
from devstack.kafka import INSIDE
from devstack.stack import Stack
from devstack.state import State
from seckill.config.layers import BASE_DIR
from seckill.config.sections import Server
from seckill.lane.client import connect
from seckill.process.exit_codes import OK
from tests.faults.command import Command

# What Kafka's authorizer writes, with its logger on debug: who was given or denied what.
JUDGED = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<verdict>Allowed|Denied) operation = (?P<verb>\w+) "
    r"from host = \S+ on resource = (?P<kind>\w+):(?:LITERAL|PREFIXED):(?P<name>\S+)"
)


def inside_of(stack: Stack) -> Server:
    """The nodes' own port, with their certificate: whoever has it may do everything."""
    state = State.load(stack.folder)
    assert state is not None
    return Server(
        brokers=f"{HOST}:{state.ports['kafka' + INSIDE]}",
        security_protocol="SSL",
        ssl_cafile=str(certificates.ca_file(stack.folder)),
        ssl_certfile=str(certificates.pem_file(stack.folder, certificates.SERVER)),
    )


def secrets_of(stack: Stack) -> list[str]:
    """Every password of the stack."""
    state = State.load(stack.folder)
    assert state is not None
    return list(state.passwords.values())


class SecuredSale:
    """Commands on a secured stack; what still runs at the end is killed."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self._folder = folder
        self._log = stack.folder / "kafka" / "kafka.log"
        self._log_start = self._log.stat().st_size
        self._commands: list[Command] = []

    def endpoints(self, command: str) -> Endpoints:
        """The addresses, with the users of this command."""
        endpoints = self.stack.endpoints(command)
        assert endpoints is not None
        return endpoints

    def environment(self, command: str) -> dict[str, str]:
        """What a process of this command is given."""
        endpoints = self.endpoints(command)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")}
        return {
            **inherited,
            **endpoints.as_env(),
            "SECKILL_CONFIG": os.devnull,
            "SECKILL_DEVSTACK": str(self._folder / "no-devstack"),
            "SECKILL_SECRET_KEY": "only for tests",
            "PYTHONUNBUFFERED": "1",
        }

    def process(self, name: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """A command as a process."""
        return subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), name, *arguments],
            env={**self.environment(name), **variables},
            cwd=BASE_DIR,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(self, name: str, *arguments: str, **variables: str) -> Command:
        """The same, with its output read while it runs."""
        command = Command(self.process(name, *arguments, **variables))
        self._commands.append(command)
        return command

    def run(self, name: str, *arguments: str, code: int = OK, **variables: str) -> str:
        """A command to its end; what it said."""
        command = self.start(name, *arguments, **variables)
        assert command.ended(60) == code, command.output
        assert "Traceback" not in command.output, command.output
        return command.output

    def shown(self) -> list[str]:
        """What everybody on the machine, or whoever reads a log, sees of it now."""
        lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
        logs = [log.read_text(errors="replace") for log in self.stack.folder.glob("*/*.log")]
        return [*lines, *logs, *(command.output for command in self._commands)]

    def judged(self) -> set[tuple[str, str, str, str, str]]:
        """(verdict, user, kind, name, verb) of all that Kafka was asked since this was made."""
        log = self._log.read_bytes()[self._log_start :].decode(errors="replace")
        return {
            (
                found["verdict"],
                found["user"],
                found["kind"].lower(),
                found["name"],
                re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found["verb"]).upper(),
            )
            for found in JUDGED.finditer(log)
        }

    def owner_of_redis(self) -> "redis.Redis":
        """A client that may give rights."""
        state = State.load(self.stack.folder)
        assert state is not None
        return connect(f"redis://:{state.passwords['valkey']}@{HOST}:{state.ports['valkey']}")

    def denied_by_redis(self) -> list[tuple[str, str, str]]:
        """(user, what, command or key) of all that Redis has denied, but for its configuration."""
        with self.owner_of_redis() as client:
            log: list[dict[str, str]] = client.acl_log()  # type: ignore[assignment]
        denied = [(each["username"], each["reason"], each["object"]) for each in log]
        # Asked only for a note; a wrong password is another test's.
        return [d for d in denied if d[1] != "auth" and not d[2].startswith("config")]

    def close(self) -> None:
        """Kill what is left, and show what each said."""
        for command in self._commands:
            command.close()
            command.process.communicate()
            print(f"--- exit code {command.process.poll()}, output of", *command.arguments)
            print(command.output)
