"""What the chart makes of a sale: the same processes, rights and limits as the other forms."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from seckill.config.layers import BASE_DIR, load
from seckill.config.sections import SECTIONS, Door, Server
from seckill.telemetry.healthy import ANSWER_S, WORKERS
from tests.chart.rendering import (
    VALUES,
    Document,
    containers,
    environment,
    kinds,
    pods,
    rendered,
)
from tests.unit.project.compose_file import FILLED_IN, service

every = pytest.mark.parametrize("values", VALUES)
# A worker's command without more, as its Deployment's name says it.
PROCESSES = {
    "web": "run_control_api", "door": "run_door", "consumer": "run_consumer",
    "settler": "run_settler", "log-worker": "run_log_worker", "events": "run_events",
    "webhooks": "run_webhooks",
}  # fmt: skip


def filled(env: dict[str, str]) -> dict[str, str]:
    """Its variables with values where Secrets have them."""
    address = {"SECKILL_REDIS_URL": "redis://valkey/0", "SECKILL_PG_DSN": "postgresql://u@h/d"}
    known = {**FILLED_IN, **address}
    # A mounted secret has what its variable would have.
    env = {n.removesuffix("_FILE"): "<>" if n.endswith("_FILE") else v for n, v in env.items()}
    known |= {name: "redis://valkey/1" for name in env if "_LANE_" in name}
    return {
        name: known.get(name, "0a1b2c3d")
        if re.fullmatch("<[^>]*>", value)
        else re.sub("<[^>]*>", "0a1b2c3d", value)
        for name, value in env.items()
        if name.startswith("SECKILL_")
    }


def settings_of(
    documents: tuple[Document, ...], container: Document, folder: Path
) -> dict[str, str]:
    """Its variables, with the configuration file where this machine has it."""
    env = filled(environment(container))
    if env["SECKILL_CONFIG"] != os.devnull:
        file = folder / "config.yaml"
        file.write_text(kinds(documents, "ConfigMap")[""]["data"]["config.yaml"])
        env["SECKILL_CONFIG"] = str(file)
    return {**env, "SECKILL_DEVSTACK": str(folder)}


def of_ours(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Containers that run a command of ours."""
    return {name: each for name, each in containers(documents).items() if "args" in each}


@every
def test_commands_exist_and_their_flags_parse(values: str) -> None:
    found = of_ours(rendered(values))
    for name, container in found.items():
        command, *flags = container["args"]
        # Lanes have no flag yet.
        flags = [
            flag for n, flag in enumerate(flags) if "--lane" not in flags[max(0, n - 1) : n + 1]
        ]
        parser = load_command_class(get_commands()[command], command).create_parser("", command)
        parser.parse_args(flags)
        assert "command" not in container, name


@every
def test_the_configuration_takes_every_setting(values: str, tmp_path: Path) -> None:
    documents = rendered(values)
    for container in of_ours(documents).values():
        for section in SECTIONS:
            load(section, environ=settings_of(documents, container, tmp_path))


def test_what_the_settings_are(tmp_path: Path) -> None:
    documents = rendered("operators")
    door = containers(documents)["Deployment/sale-seckill-door/door"]
    settings = load(Door, environ=settings_of(documents, door, tmp_path))
    assert (settings.sasl_username, settings.proxy_networks) == ("seckill-door", "10.0.0.0/8")
    found = environment(door)
    assert found["SECKILL_REDIS_URL"] == (
        "rediss://seckill:<seckill-valkey-users/seckill>@seckill-valkey:6379/0"
        "?ssl_ca_certs=/etc/seckill/redis/ca.crt"
    )
    assert found["SECKILL_PG_DSN"] == (
        "postgresql://<seckill-db-application/username>:<seckill-db-application/password>"
        "@seckill-db-rw:5432/seckill?sslmode=verify-full"
        "&sslrootcert=/etc/seckill/postgresql/ca.crt&target_session_attrs=read-write"
    )
    consumer = containers(documents)["Deployment/sale-seckill-consumer/consumer"]
    assert environment(consumer)["SECKILL_SASL_USERNAME"] == "seckill-consumer"
    assert load(Server, environ=settings_of(documents, consumer, tmp_path)).connect_timeout == 600
    migrate = environment(containers(documents)["Job/sale-seckill-migrate/migrate"])
    assert "<seckill-db-app/username>" in migrate["SECKILL_PG_DSN"]
    assert "SECKILL_BROKERS" not in migrate


@every
def test_files_that_are_named_are_mounted(values: str) -> None:
    for name, container in of_ours(rendered(values)).items():
        mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
        named = re.findall(r"/etc/seckill/\w+", " ".join(environment(container).values()))
        assert set(named) <= set(mounted), name
    for name, spec in pods(rendered(values)).items():
        there = {volume["name"] for volume in spec["volumes"]}
        for each in (*spec.get("initContainers", ()), *spec["containers"]):
            assert {mount["name"] for mount in each["volumeMounts"]} <= there, name


@every
def test_no_root_no_right_and_no_secret(values: str) -> None:
    documents = rendered(values)
    assert not kinds(documents, "Secret")
    for name, spec in pods(documents).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert str(spec["securityContext"]["runAsUser"]) in (BASE_DIR / "Dockerfile").read_text()
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        written = [v["name"] for v in spec["volumes"] if "emptyDir" in v]
        assert written == ["tmp"], name
    for name, container in containers(documents).items():
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True, name
        assert rights["allowPrivilegeEscalation"] is False, name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name
        assert container["resources"]["requests"], name


def test_the_same_processes_with_as_much_time_to_stop() -> None:
    found = kinds(rendered("operators"), "Deployment")
    assert set(found) == set(PROCESSES)
    for name, deployment in found.items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        composed = service(name)
        assert container["args"][0] == PROCESSES[name] == composed["command"][0]
        # What proxies need to hear of the end comes on top.
        before = int(container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
                     .get("command", ["0"])[-1])  # fmt: skip
        grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace - before >= int(composed["stop_grace_period"].removesuffix("s")), name


@every
def test_probes(values: str) -> None:
    for name, deployment in kinds(rendered(values), "Deployment").items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        alive, starts = container["livenessProbe"], container["startupProbe"]
        # A worker that begins to write again after an outage needs some seconds.
        assert alive["failureThreshold"] * alive["periodSeconds"] >= 30, name
        patience = starts["failureThreshold"] * starts["periodSeconds"]
        assert patience > int(environment(container)["SECKILL_CONNECT_TIMEOUT"]), name
        if "httpGet" in alive:
            assert {container[probe]["httpGet"]["path"]
                    for probe in ("startupProbe", "readinessProbe", "livenessProbe")
                    } == {"/healthz"}, name  # fmt: skip
            continue
        assert "readinessProbe" not in container
        program, file, *line = alive["exec"]["command"]
        assert (program, file, line[0]) == ("python", "manage.py", "healthy")
        assert line[1] in WORKERS
        assert name.startswith(line[1])
        assert alive["timeoutSeconds"] > 3 * ANSWER_S
        command = load_command_class(get_commands()["healthy"], "healthy")
        command.create_parser("", "healthy").parse_args(line[1:4])


@every
def test_selectors_meet_their_pods(values: str) -> None:
    documents = rendered(values)
    labels = {
        name: deployment["spec"]["template"]["metadata"]["labels"]
        for name, deployment in kinds(documents, "Deployment").items()
    }

    def met(selector: dict[str, str]) -> set[str]:
        return {name for name, have in labels.items() if selector.items() <= have.items()}

    for name, deployment in kinds(documents, "Deployment").items():
        assert met(deployment["spec"]["selector"]["matchLabels"]) == {name}
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
            assert met(spread["labelSelector"]["matchLabels"]) == {name}
    for name, budget in kinds(documents, "PodDisruptionBudget").items():
        assert met(budget["spec"]["selector"]["matchLabels"]) == {name}
    services = kinds(documents, "Service")
    for name in set(services) - {"metrics"}:
        assert met(services[name]["spec"]["selector"]) == {name}
    assert met(services["metrics"]["spec"]["selector"]) == set(labels)
    for monitor in kinds(documents, "ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= services["metrics"]["metadata"]["labels"].items()
    for name, policy in kinds(documents, "NetworkPolicy").items():
        chosen = met(policy["spec"]["podSelector"]["matchLabels"])
        assert chosen == {"": set(labels), "test": set()}.get(name, {name})


def test_hooks_need_nothing_that_the_chart_makes() -> None:
    """They run before it is there."""
    (job,) = kinds(rendered("operators"), "Job").values()
    spec = job["spec"]["template"]["spec"]
    assert "pre-install" in job["metadata"]["annotations"]["helm.sh/hook"]
    assert spec["serviceAccountName"] == "default"
    assert not [volume for volume in spec["volumes"] if "configMap" in volume]
    assert environment(spec["containers"][0])["SECKILL_CONFIG"] == os.devnull
    assert job["spec"]["activeDeadlineSeconds"] > 0


def test_secrets_as_files() -> None:
    """Each file that a variable names is there, and no variable has a secret."""
    for name, spec in pods(rendered("tokens")).items():
        there = {
            item["path"]: (source["secret"]["name"], item["key"])
            for volume in spec["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            for item in source["secret"]["items"]
        }
        named = set()
        for container in spec["containers"]:
            env = environment(container)
            named |= {v.rpartition("/")[2] for k, v in env.items() if k.endswith("_FILE")}
            held = {k for k, v in env.items() if re.search("<.*>", v)}
            assert held <= {"POSTGRESQL_USER", "SECKILL_PG_DSN"}, name
        assert named == set(there), name
    door = pods(rendered("tokens"))["Deployment/sale-seckill-door"]
    env = environment(door["containers"][0])
    assert env["SECKILL_REDIS_URL"] == "redis://seckill@valkey:6379/0"
    assert env["SECKILL_PG_DSN"] == (
        "postgresql://<seckill-postgresql/username>@postgresql:5432/seckill"
    )


def test_who_a_worker_is_to_kafka(tmp_path: Path) -> None:
    """By a token and a certificate: the door by its own, the others by those of all."""
    documents = rendered("tokens")
    found = {}
    for name, spec in pods(documents).items():
        secrets = [v["secret"] for v in spec["volumes"] if v["name"] == "kafka-client"]
        [container] = spec["containers"]
        client = environment(container).get("SECKILL_OAUTH_CLIENT_ID")
        found[name.rpartition("sale-seckill-")[2]] = (
            client,
            [(s["secretName"], [item["key"] for item in s["items"]]) for s in secrets],
        )
        assert bool(client) == bool(secrets), name
    certificate = [("seckill-kafka", ["user.crt", "user.key"])]
    assert found["consumer"] == found["audit"] == ("seckill", certificate)
    assert found["door"] == ("seckill-door", [("seckill-door-kafka", ["user.crt", "user.key"])])
    assert found["log-worker"] == found["web"] == found["migrate"] == (None, [])
    (opened,) = (e for e in kinds(documents, "NetworkPolicy")[""]["spec"]["egress"][1:2])
    assert 443 in [each["port"] for each in opened["ports"]]
    consumer = containers(documents)["Deployment/sale-seckill-consumer/consumer"]
    assert load(Server, environ=settings_of(documents, consumer, tmp_path)).oauth_scope == "kafka"


def test_a_lane_has_a_topic_and_a_redis_of_its_own(tmp_path: Path) -> None:
    documents = rendered("tokens")
    for name in ("consumer-hot-1/consumer", "web/web"):
        container = containers(documents)[f"Deployment/sale-seckill-{name}"]
        env = settings_of(documents, container, tmp_path)
        lane = load(Server, environ=env, lane="hot-1")
        assert (lane.topic, lane.group_id) == ("seckill_requests_hot", "seckill_server_group_hot")
        assert lane.redis_url == "redis://valkey/1"


def test_an_ingress_leads_to_its_service() -> None:
    documents = rendered("tokens")
    services = kinds(documents, "Service")
    found = kinds(documents, "Ingress")
    assert set(found) == {"web", "door"}
    for name, ingress in found.items():
        (rule,) = ingress["spec"]["rules"]
        backend = rule["http"]["paths"][0]["backend"]["service"]
        assert backend["name"] == services[name]["metadata"]["name"]
        assert backend["port"]["name"] in [p["name"] for p in services[name]["spec"]["ports"]]
    assert found["web"]["spec"]["tls"] == [
        {"hosts": ["desk.example.com"], "secretName": "desk-tls"}
    ]
    assert not kinds(rendered("operators"), "Ingress")


def test_the_ports_that_are_named_are_open() -> None:
    flags = "redis.host=v,redis.port=6390,postgresql.host=p,postgresql.port=5499"
    documents = rendered("smallest", "--set", flags, "--set", r"kafka.brokers=k:19092\,l:19093")
    (dns, services) = kinds(documents, "NetworkPolicy")[""]["spec"]["egress"]
    assert {each["port"] for each in dns["ports"]} == {53}
    opened = [each["port"] for each in services["ports"]]
    assert {19092, 19093, 6390, 5499} <= set(opened)
    assert len(opened) == len(set(opened))


def test_an_upgrade_in_two_steps() -> None:
    """Log workers and tables first: the old ones may not know what new consumers write."""
    flag = "image.tag=v1,migrate.imageTag=v2,logWorker.imageTag=v2"
    tags = {
        name.rpartition("/")[2]: container["image"].rpartition(":")[2]
        for name, container in containers(rendered("operators", "--set", flag)).items()
    }
    assert {name for name, tag in tags.items() if tag == "v2"} == {"migrate", "log-worker"}
    assert set(tags.values()) == {"v1", "v2"}


def test_a_lane_has_workers_of_its_own() -> None:
    found = kinds(rendered("lanes"), "Deployment")
    assert set(found) == {"web", "consumer", "consumer-hot", "log-worker", "log-worker-hot"}
    lines = {name: each["spec"]["template"]["spec"]["containers"][0]["args"]
             for name, each in found.items()}  # fmt: skip
    assert lines["consumer"] == ["run_consumer"]
    assert lines["consumer-hot"] == ["run_consumer", "--lane", "hot"]
    assert lines["log-worker-hot"] == ["run_log_worker", "--lane", "hot"]


def test_consumers_scale_no_further_than_their_partitions() -> None:
    documents = rendered("lanes")
    scaled = kinds(documents, "ScaledObject")
    # 8 partitions for pods of two consumers; 12 for pods of one.
    assert [scaled[name]["spec"]["maxReplicaCount"] for name in ("consumer", "consumer-hot")] == [
        4,
        12,
    ]
    for name, each in scaled.items():
        assert each["spec"]["scaleTargetRef"]["name"] == each["metadata"]["name"]
        # Two masters of one number would fight.
        assert "replicas" not in kinds(documents, "Deployment")[name]["spec"]
        down = each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] >= 300
    few = kinds(rendered("lanes", "--set", "keda.maxReplicas=3"), "ScaledObject")
    assert few["consumer-hot"]["spec"]["maxReplicaCount"] == 3


def test_alerts_and_dashboard_are_those_of_the_other_forms() -> None:
    documents = rendered("operators")
    alerts = yaml.safe_load((BASE_DIR / "deploy/prometheus/alerts.yml").read_text())
    assert kinds(documents, "PrometheusRule")[""]["spec"] == alerts
    board = kinds(documents, "ConfigMap")["dashboard"]
    source = (BASE_DIR / "deploy/grafana/dashboards/seckill.json").read_text()
    assert json.loads(board["data"]["seckill.json"]) == json.loads(source)
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_a_change_of_the_configuration_starts_the_pods_again() -> None:
    def sums(*more: str) -> set[str]:
        found = kinds(rendered("smallest", *more), "Deployment").values()
        return {d["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for d in found}

    assert len(sums()) == 1
    assert sums() != sums("--set", "config.server.batch_size=2000")
