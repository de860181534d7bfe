"""The servers of docker-compose.yml are set like the embedded ones: nothing may drift apart.

Addresses and paths differ; whatever decides over durability, limits and groups is the same.
"""

import inspect

from devstack import kafka, postgres, valkey
from tests.unit.project.compose_file import REPLICAS, dotenv, environment, fill, replicated, service


def settings(text: str, separator: str) -> dict[str, str]:
    """`key<separator>value` lines as a mapping; quotes around a value are none of it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.strip().split(separator, 1) for line in lines]
    return {
        key.strip(): value.strip(" ").removeprefix("'").removesuffix("'") for key, value in pairs
    }


def test_kafka_is_set_like_the_embedded_one() -> None:
    hours = kafka.KEEP_HOURS
    embedded = settings(
        kafka.CONFIGURATION.format(
            host="h", port=1, controller=2, keep_hours=hours, keep_minutes=hours * 60
        ),
        "=",
    )
    own = {"listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs"}
    own |= {"controller.quorum.voters"}
    given = {
        key.removeprefix("KAFKA_").lower().replace("_", "."): value
        for key, value in environment("kafka", {}).items()
        if key.startswith("KAFKA_") and key != "KAFKA_HEAP_OPTS"
    }
    assert given.keys() == embedded.keys()
    assert {k: v for k, v in given.items() if k not in own} == {
        k: v for k, v in embedded.items() if k not in own
    }
    assert service("kafka")["environment"]["KAFKA_HEAP_OPTS"] in kafka.JAVA_OPTIONS
    assert service("kafka")["image"] == f"apache/kafka:{kafka.KAFKA_VERSION}"


def test_three_nodes_are_one_cluster_with_three_copies() -> None:
    nodes = {name: environment(name, replicated()) for name in {"kafka", *REPLICAS}}
    voters = nodes["kafka"]["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
    assert sorted(voters) == sorted(
        f"{settings['KAFKA_NODE_ID']}@{name}:9093" for name, settings in nodes.items()
    )
    own = {"KAFKA_NODE_ID", "KAFKA_ADVERTISED_LISTENERS"}
    shared = [{k: v for k, v in each.items() if k not in own} for each in nodes.values()]
    assert shared[0] == shared[1] == shared[2]
    for key, value in shared[0].items():
        if key.endswith("REPLICATION_FACTOR"):
            assert value == "3", key
        if key.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS")):
            assert value == "2", key
    for name, settings in nodes.items():
        assert f"PLAINTEXT://{name}:9092" in settings["KAFKA_ADVERTISED_LISTENERS"]
        published = fill(service(name)["ports"][0], {}).split(":")[1]
        assert settings["KAFKA_ADVERTISED_LISTENERS"].endswith(f"HOST://127.0.0.1:{published}")
        assert "CONTROLLER://0.0.0.0:9093" in settings["KAFKA_LISTENERS"]
    asked = environment("consumer", {**replicated(), **dotenv(optional=False)})["SECKILL_BROKERS"]
    assert asked.split(",") == [f"{name}:9092" for name in sorted(nodes)]
    assert all(service(name)["profiles"] == ["replicated"] for name in REPLICAS)


def test_valkey_is_set_like_the_embedded_one() -> None:
    embedded = settings(valkey.CONFIGURATION.format(host="h", port=1, password="p"), " ")
    lines = service("valkey")["command"][-1].split("<<CONFIGURATION\n")[1].split("CONFIGURATION")[0]
    given = settings(lines, " ")
    own = {"bind", "port", "daemonize", "dir", "requirepass"}
    assert {k: v for k, v in given.items() if k not in own} == {
        k: v for k, v in embedded.items() if k not in own
    }
    assert given["appendfsync"] == "always"
    assert given["maxmemory-policy"] == "noeviction"


def test_postgres_is_set_like_the_embedded_one() -> None:
    embedded = settings(postgres.CONFIGURATION.format(host="h", port=1), "=")
    program, *flags = service("postgres")["command"]
    assert program == "postgres"
    given = dict(flag.removeprefix("-c").split("=", 1) for flag in flags)
    own = {"listen_addresses", "port", "unix_socket_directories"}
    assert given == {key: value for key, value in embedded.items() if key not in own}
    assert given["fsync"] == given["synchronous_commit"] == "on"
    made = inspect.getsource(postgres.Postgres)
    for argument in service("postgres")["environment"]["POSTGRES_INITDB_ARGS"].split():
        assert f'"{argument}"' in made, argument
