"""What security costs: the same work on services with TLS, passwords and rights, and without.

Owns the second set of services: that of `devstack up --secured`. Its Valkey and its PostgreSQL have
users and no TLS, since the wheels that they come from were built without it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import getpid
from pathlib import Path

from django.core.management import call_command

from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, UNLIMITED, Rig, Run
from devstack.crew import Crew, worker_environment
from devstack.kafka_users import give_rights
from devstack.stack import Stack
from devstack.state import State
from seckill.broker.topics import Topics
from seckill.config.layers import BASE_DIR, load
from seckill.config.rights import Right
from seckill.config.sections import Server
from seckill.lane.client import connect
from seckill.management.arguments import use_database

GOAL = 0.8
# Topics and groups of a bench have names of their own.
RIGHTS = [
    Right("topic", "bench-*", ("ALL",), "its backlogs"),
    Right("group", "bench-*", ("ALL",), "a group for each run"),
]


def secured(rig: Rig) -> list[Figure]:
    """Winners on both, one after the other in each repeat, with each client."""
    requests = rig.size.requests
    figures = []
    with _secured(rig) as other:
        for client in CLIENTS:
            plain: list[Run] = []
            behind_tls: list[Run] = []
            for repeat in range(1, rig.size.repeats + 1):
                rig.say(f"secured, {client}: repeat {repeat} of {rig.size.repeats}")
                for each, runs in ((rig, plain), (other, behind_tls)):
                    use_database(each.server.pg_dsn)
                    topic = each.backlog("even", EVEN, requests)
                    each.clean(UNLIMITED)
                    runs.append(each.decide(topic, client, requests))
                    each.audit()
            figures += _figures(client, plain, behind_tls)
    use_database(rig.server.pg_dsn)
    return figures


def _figures(client: str, plain: list[Run], behind_tls: list[Run]) -> list[Figure]:
    pairs = list(zip(behind_tls, plain, strict=True))
    goal = GOAL if client == CLIENTS[0] else None
    return [
        Figure("secured", f"winners, plain text, {client}", [run.rate for run in plain], "/s"),
        Figure(
            "secured",
            f"winners, TLS and passwords, {client}",
            [run.rate for run in behind_tls],
            "/s",
            busy=behind_tls[-1].busy,
        ),
        Figure(
            "secured",
            f"TLS and passwords of plain text, {client}",
            [tls.rate / text.rate for tls, text in pairs],
            "x",
            goal=goal,
        ),
        Figure(
            "secured",
            f"CPU a decision, of plain text, {client}",
            [tls.cpu_us / text.cpu_us for tls, text in pairs],
            "x",
        ),
    ]


@contextmanager
def _secured(rig: Rig) -> Iterator[Rig]:
    """The same rig on secured services, as users who may do all. Kafka's own work is in no figure
    of CPU.
    """
    folder = Path(rig.crew.folder).parent / "secured"
    stack = Stack(folder / "services")
    with ExitStack() as ends:
        ends.callback(stack.remove)
        endpoints = stack.up(rig.say, owner_pid=getpid(), secured=True)
        state = State.load(stack.folder)
        assert state is not None
        give_rights(state, RIGHTS)
        # Whoever empties Redis and PostgreSQL between two runs: no worker may.
        whole = replace(state, secured=False).endpoints()
        assert whole is not None
        endpoints = replace(endpoints, pg_dsn=whole.pg_dsn)
        environment = worker_environment(endpoints.as_env())
        crew = Crew(BASE_DIR, folder / "logs", environment)
        ends.callback(crew.stop)
        use_database(endpoints.pg_dsn)
        call_command("migrate", verbosity=0)
        server = load(Server, environ=environment)
        client = ends.enter_context(connect(whole.redis_url))
        topics = ends.enter_context(Topics(server))
        yield replace(
            *(rig,),
            server=server, client=client, crew=crew, stack=stack, topics=topics, _backlogs={},
        )  # fmt: skip
