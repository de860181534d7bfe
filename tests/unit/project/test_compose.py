"""docker-compose.yml and .env.example: what can be proved without an engine.

The production-like form must not drift away from the configuration and the commands: both are asked
here. Nothing is started.
"""

import os
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from devstack import kafka, postgres, valkey
from seckill.config.layers import BASE_DIR, ConfigError, load
from seckill.config.sections import SECTIONS, LogWorker
from seckill.consumer.children import STOP_S
from seckill.telemetry.healthy import ANSWER_S
from seckill.telemetry.healthy import WORKERS as BEATING
from tests.unit.project.compose_file import (
    EVENTS,
    MONITORING,
    ONCE,
    OURS,
    PLACEHOLDER,
    REPLICAS,
    SECRET,
    SERVERS,
    WORKERS,
    document,
    dotenv,
    environment,
    fill,
    read,
    replicated,
    service,
)

REQUIRED = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "SECKILL_SECRET_KEY", "SECKILL_ADMIN_PASSWORD"}
REQUIRED |= {"GRAFANA_PASSWORD", "SECKILL_TICKET_SECRET", "SECKILL_BUYER_KEYS"}


def test_services() -> None:
    assert set(document()["services"]) == SERVERS | REPLICAS | WORKERS | ONCE | MONITORING | EVENTS


@pytest.mark.parametrize("optional", [False, True], ids=["bare", "everything set"])
@pytest.mark.parametrize("name", OURS)
def test_the_configuration_knows_every_setting(name: str, optional: bool, tmp_path: Path) -> None:
    env = environment(name, dotenv(optional=optional))
    # PostgreSQL's own library reads the others.
    assert all(key.startswith(("SECKILL_", "PG")) for key in env)
    for section in SECTIONS:
        nowhere = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path)}
        load(section, environ={**env, **nowhere})


def test_an_unknown_setting_would_be_refused() -> None:
    with pytest.raises(ConfigError, match="SECKILL_STOK"):
        load(SECTIONS[0], environ={"SECKILL_STOK": "1:1"})


@pytest.mark.parametrize("name", OURS)
def test_commands_exist_and_their_flags_parse(name: str) -> None:
    command, *flags = service(name)["command"]
    parser = load_command_class(get_commands()[command], command).create_parser(
        "manage.py", command
    )
    parser.parse_args(flags)
    assert "entrypoint" not in service(name)


def test_the_example_names_what_compose_takes_and_nothing_else() -> None:
    taken = {m.group(1) for m in PLACEHOLDER.finditer(read("docker-compose.yml")) if m.group(1)}
    for name in OURS:
        taken |= {key for key, value in service(name)["environment"].items() if value is None}
    assert set(replicated()) < taken
    assert set(dotenv(optional=True)) == taken - set(replicated())
    assert set(dotenv(optional=False)) == REQUIRED
    assert not re.search(r"^[A-Z_]+=.+$", read(".env.example"), re.MULTILINE), (
        "a value in the example"
    )


def test_no_password_in_the_file() -> None:
    for name in document()["services"]:
        for key, value in service(name).get("environment", {}).items():
            # Without a value it is handed on from .env, or left out.
            if SECRET.search(key) and value is not None:
                required = {
                    m.group(1) for m in PLACEHOLDER.finditer(value or "") if m.group(2) == "?"
                }
                assert required & REQUIRED, f"{name}: {key}"
        for part in ("command", "healthcheck", "entrypoint"):
            assert not PLACEHOLDER.search(str(service(name).get(part)).replace("$$", "")), (
                name,
                part,
            )
    addresses = re.findall(r"://\w*:(.+?)@", read("docker-compose.yml"))
    assert addresses
    assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", password) for password in addresses)
    assert "requirepass $$VALKEYCLI_AUTH\n" in read("docker-compose.yml")


def test_health_and_restart() -> None:
    for name in SERVERS | REPLICAS | WORKERS | MONITORING | EVENTS:
        assert service(name)["restart"] == "unless-stopped", name
        assert service(name)["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    for name in ONCE:
        assert service(name)["restart"] == "no", name
    assert service("loadgen")["profiles"] == ["load"]
    for name in EVENTS:
        assert service(name)["profiles"] == ["events"]
    for name in WORKERS | EVENTS:
        check = service(name)["healthcheck"]
        program, *line = check["test"][1:]
        assert program == "python"
        if name in ("web", "door"):
            compile(line[1], name, "exec")
            continue
        # One service each for all lanes of the file.
        assert line == ["manage.py", "healthy", name, "--lane", "all"]
        assert service(name)["command"][1:] == ["--lane", "all"]
        assert name in BEATING
        # An end by the time-out would be no verdict; and a start waits for services.
        assert int(check["timeout"].removesuffix("s")) > 3 * ANSWER_S
        assert int(check["start_period"].removesuffix("s")) > LogWorker().connect_timeout
    assert "/healthz" in str(service("web")["healthcheck"])
    assert "/readyz" in str(service("door")["healthcheck"])


def test_order_of_the_start() -> None:
    for name in OURS:
        for needed, how in service(name)["depends_on"].items():
            wanted = "service_completed_successfully" if needed in ONCE else "service_healthy"
            assert how["condition"] == wanted, (name, needed)


def test_the_gate_of_the_start_ends() -> None:
    """migrate holds everything else: it must not wait for ever for a server or a lock."""
    found = environment("migrate", dotenv(optional=False))
    assert int(found["PGCONNECT_TIMEOUT"]) > 0
    assert "lock_timeout=" in found["PGOPTIONS"]
    for name in SERVERS:
        check = service(name)["healthcheck"]
        assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


def test_time_to_stop() -> None:
    for name in ("consumer", "settler"):
        assert int(service(name)["stop_grace_period"].removesuffix("s")) >= STOP_S + 10
    for name, server in (
        ("kafka", kafka.Kafka),
        ("valkey", valkey.Valkey),
        ("postgres", postgres.Postgres),
    ):
        grace = int(service(name)["stop_grace_period"].removesuffix("s"))
        assert grace >= server.stop_plan[0][1], name


def test_what_is_published_is_on_loopback_only() -> None:
    published = {
        name: service(name)["ports"] for name in document()["services"] if "ports" in service(name)
    }
    assert set(published) == {"web", "door", "kafka"} | REPLICAS | MONITORING
    hosts = [fill(p, {}).split(":")[1] for ports in published.values() for p in ports]
    assert len(set(hosts)) == len(hosts), "two on one port of the machine"
    for port in (fill(port, {}) for ports in published.values() for port in ports):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert document()["networks"]["backend"] == {"internal": True}


def test_rights() -> None:
    for name in document()["services"]:
        assert service(name)["cap_drop"] == ["ALL"], name
        assert service(name)["security_opt"] == ["no-new-privileges:true"], name
        assert str(service(name).get("user", "")).split(":")[0] not in ("root", "0"), name
        assert not {"privileged", "cap_add", "pid", "network_mode"} & set(service(name)), name
    for name in OURS:
        assert service(name)["read_only"] is True, name
        assert service(name)["init"] is True, name
        assert "user" not in service(name), "the image's own user"


def test_data_is_in_named_volumes() -> None:
    folders = {"kafka": "/var/lib/kafka/data", "valkey": "/data", "postgres": "/var/lib/postgresql"}
    for name, folder in folders.items():
        assert service(name)["volumes"] == [f"{name}:{folder}"]
    for name in REPLICAS:
        folders[name] = folders["kafka"]
        assert service(name)["volumes"] == [f"{name}:{folders[name]}"]
    folders |= {"prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
    assert set(document()["volumes"]) == set(folders)
    for name in MONITORING:
        volume, *files = service(name)["volumes"]
        assert volume == f"{name}:{folders[name]}"
        for mount in files:
            source, _, mode = mount.split(":")
            assert (BASE_DIR / source).exists(), mount
            assert mode == "ro"
    assert service("kafka")["environment"]["KAFKA_LOG_DIRS"] == folders["kafka"]
    for name in OURS:
        (mount,) = service(name)["volumes"]
        assert mount["source"] == "./config.yaml"
        assert mount["read_only"] is True
