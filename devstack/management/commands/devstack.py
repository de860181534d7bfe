"""`manage.py devstack up|down|status|env`: the embedded services from the shell."""

import os
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from devstack.endpoints import HOST, NAMES, DevstackError, without_passwords
from devstack.preflight import check_platform
from seckill.config.layers import devstack_folder
from seckill.config.rights import COMMANDS
from seckill.management import base
from seckill.management.arguments import add_alias
from seckill.process import exit_codes

if TYPE_CHECKING:
    from devstack.stack import Stack

HELP = """\
A real Kafka, Valkey and PostgreSQL for this checkout, from Python wheels.

  up      start services that do not answer; returns when all answer
  down    stop all; keeps the data (unless --remove-data)
  status  check each service by a real request
  env     print the addresses as shell exports: eval "$(manage.py devstack env)"

With --secured a new folder gets users and rights in each service, and Kafka TLS. Then `env` prints
files that hold the passwords, and `env --for run_door` the users of one command.
"""

# The flags of each action.
FLAGS = {
    "up": (
        *("wait_s", "secured", "brokers", "valkey_cluster", "valkey_replicas"),
        *(f"{name}_port" for name in NAMES),
    ),
    "env": ("for", "secrets"),
    "status": ("json",),
    "down": ("remove_data",),
}
WAIT_S = 90.0
# Fewer cannot vote for who takes over.
MASTERS = range(3, 7)


class Command(base.Command):
    """The embedded services from the shell."""

    help = HELP
    examples = (
        "up --kafka-port 9092",
        "up --secured --brokers 3",
        "up --valkey-cluster 3 --valkey-replicas 1",
        'env                   # eval "$(manage.py devstack env)" exports the addresses',
        "status --json",
        "down --remove-data",
    )
    codes = {exit_codes.FAILED: "could not be done (the line says why); status: not all are up"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Actions and their options."""
        parser.add_argument("action", choices=("up", "down", "status", "env"), help="see above")
        parser.add_argument(
            "--folder",
            type=Path,
            help="folder of data, logs, ports and passwords (default: .devstack in the project)",
        )
        up = parser.add_argument_group("up")
        up.add_argument(
            "--wait-s", type=float, metavar="S",
            help=f"seconds for a start (default: {WAIT_S:g})",
        )  # fmt: skip
        add_alias(up, "--wait", "wait_s", float)
        for name in NAMES:
            up.add_argument(
                f"--{name}-port", type=int, metavar="PORT", help=f"{name}'s port (default: free)"
            )
        up.add_argument(
            "--secured", action="store_true",
            help="a new folder with users, passwords and rights, and TLS in Kafka",
        )  # fmt: skip
        up.add_argument(
            "--brokers", type=int, choices=(1, 3),
            help="Kafka's nodes in a new folder; 3 keep three copies (default: 1)",
        )  # fmt: skip
        up.add_argument(
            "--valkey-cluster", type=int, choices=MASTERS, metavar="N",
            help=f"a Valkey cluster in a new folder, of {MASTERS[0]} to {MASTERS[-1]} masters",
        )  # fmt: skip
        up.add_argument(
            "--valkey-replicas", type=int, choices=(0, 1),
            help="replicas of each master; one takes over when its master dies (default: 0)",
        )  # fmt: skip
        env = parser.add_argument_group("env")
        env.add_argument(
            "--for", metavar="COMMAND", choices=sorted(COMMANDS),
            help="the users of this command, in a secured folder (default: those for everything)",
        )  # fmt: skip
        env.add_argument(
            "--secrets", action="store_true",
            help="passwords themselves, in a secured folder, and not files that hold them",
        )  # fmt: skip
        base.add_json_flag(parser.add_argument_group("status"))
        down = parser.add_argument_group("down")
        down.add_argument(
            "--remove-data", action="store_true", help="also remove the folder with all data"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one action; an error that a user can fix is one message, not a traceback."""
        self._refuse_flags_of_others(options)
        try:
            check_platform()
            # Imported here, because it needs modules that an unsupported system does not have.
            from devstack.stack import Stack

            stack = Stack(options["folder"] or devstack_folder(os.environ))
            getattr(self, f"_{options['action']}")(stack, options)
        except DevstackError as wrong:
            raise CommandError(str(wrong), returncode=exit_codes.FAILED) from None
        except KeyboardInterrupt:
            raise CommandError(
                "called off; what this call had begun is stopped.",
                returncode=exit_codes.SECOND_SIGNAL,
            ) from None

    @staticmethod
    def _refuse_flags_of_others(options: dict[str, Any]) -> None:
        for action, flags in FLAGS.items():
            given = [flag for flag in flags if options[flag] not in (None, False)]
            if given and action != options["action"]:
                flag = given[0].replace("_", "-")
                raise CommandError(
                    f"--{flag} belongs to devstack {action}", returncode=exit_codes.USAGE
                )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _up(self, stack: "Stack", options: dict[str, Any]) -> None:
        began = time.monotonic()
        fixed = {name: port for name in NAMES if (port := options[f"{name}_port"])}
        stack.up(
            self._say,
            wait_s=options["wait_s"] or WAIT_S,
            ports=fixed,
            secured=options["secured"],
            brokers=options["brokers"] or 0,
            masters=options["valkey_cluster"] or 0,
            replicas=options["valkey_replicas"] or 0,
        )
        self._say(f"all services answer, after {time.monotonic() - began:.1f} s")

    def _down(self, stack: "Stack", options: dict[str, Any]) -> None:
        if options["remove_data"]:
            stack.remove(self._say)
        else:
            stack.down(self._say)

    def _status(self, stack: "Stack", options: dict[str, Any]) -> None:
        found = stack.status()
        if options["json"]:
            services = [{"host": HOST, **asdict(each)} for each in found]
            self.print_json({"schema": 1, "folder": str(stack.folder), "services": services})
        for each in () if options["json"] else found:
            address = f"127.0.0.1:{each.port}" if each.port else "-"
            pid = f"pid {each.pid}" if each.pid else "-"
            self._say(
                f"{each.name:<9} {each.state:<14} {address:<16} {pid:<12} {each.detail}".rstrip()
            )
        if any(each.state != "up" for each in found):
            raise SystemExit(exit_codes.FAILED)

    def _env(self, stack: "Stack", options: dict[str, Any]) -> None:
        endpoints = stack.endpoints(options["for"])
        if endpoints is None:
            raise DevstackError("the services were never started here: `devstack up` first.")
        users = COMMANDS.get(options["for"] or "")
        variables = endpoints.as_env()
        if endpoints.kafka and not options["secrets"]:
            variables = without_passwords(variables, stack.folder)
        if endpoints.kafka and users:
            # Only what the command uses.
            variables = {
                name: value
                for name, value in variables.items()
                if getattr(users, _service_of(name)) is not None
            }
        for name, value in variables.items():
            self._say(f"export {name}={shlex.quote(value)}")


def _service_of(variable: str) -> str:
    """Whose address or password a variable is, as `Users` names the services."""
    for prefix, service in (("SECKILL_REDIS_", "redis"), ("SECKILL_PG_", "postgres")):
        if variable.startswith(prefix):
            return service
    return "kafka"
