"""Each file of values below ci/ makes valid objects of Kubernetes; what is wrong is refused."""

import re
import sys
from typing import Any

import pytest
import yaml

from seckill import __version__
from seckill.config.layers import BASE_DIR
from tests.chart.rendering import CHART, KUBERNETES, TOOLS, VALUES, helm, rendered, template

sys.path.append(str(TOOLS / "python"))
# Objects of other makers, whose schemas no package has.
OTHERS = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}


def judge(document: dict[str, Any], version: str) -> None:
    """Raises if Kubernetes would refuse it, or would not know a field of it."""
    import kubernetes_validate

    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_wrong(values: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(CHART / "ci" / f"{values}-values.yaml"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_takes_each_object(values: str, version: str) -> None:
    documents = rendered(values, version=version)
    assert len(documents) > 8
    for document in documents:
        if document["apiVersion"] not in OTHERS:
            judge(document, version)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("place", "value"),
    [(("spec", "replicas"), "two"), (("spec", "strateggy"), {}), (("spec", "selector"), "app")],
)
def test_the_schemas_would_tell(place: tuple[str, str], value: Any) -> None:
    import kubernetes_validate

    (web,) = (d for d in rendered("smallest") if d["metadata"]["name"] == "sale-seckill-web"
              and d["kind"] == "Deployment")  # fmt: skip
    broken = {**web, place[0]: {**web[place[0]], place[1]: value}}
    judge(web, KUBERNETES[1])
    with pytest.raises(kubernetes_validate.ValidationError):
        judge(broken, KUBERNETES[1])


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("web.replica=2", "additional properties 'replica' not allowed"),
        ("kafka.brokers=kafka", "/kafka/brokers"),
        ("lanes[0].name=other,lanes[0].replicas=1,lanes[0].consumers=1,lanes[0].partitions=1",
         "must be 'main'"),
        ("probes.failureThreshold=1", "/probes/failureThreshold"),
        ("config.servr.batch_size=1", "servr"),
        ("web.existingSecret=", "web.existingSecret: with Django's secret key"),
        ("postgresql.owner.existingSecret=", "the role that owns the tables"),
        ("kafka.securityProtocol=SASL_SSL", "kafka.saslMechanism"),
        ("redis.existingSecret=", "redis.host, or redis.existingSecret"),
        ("webhooks.enabled=true", "webhooks.existingSecret"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told(flag: str, words: str) -> None:
    done = template("smallest", "--set", flag)
    assert done.returncode != 0
    assert words in done.stderr


def test_an_old_kubernetes_is_refused() -> None:
    assert "requires kubeVersion" in template("smallest", version="1.26").stderr


def test_the_chart_names_the_version_of_the_code() -> None:
    assert f'appVersion: "{__version__}"' in (CHART / "Chart.yaml").read_text()


def test_alerts_and_dashboard_have_one_source() -> None:
    """Links: nothing is copied, so nothing can differ. A package of the chart has the files."""
    for name, source in (
        ("alerts.yml", "deploy/prometheus/alerts.yml"),
        ("dashboard.json", "deploy/grafana/dashboards/seckill.json"),
    ):
        assert (CHART / "files" / name).is_symlink()
        assert (CHART / "files" / name).resolve() == BASE_DIR / source


def test_the_readme_has_every_value() -> None:
    def paths(values: dict[str, Any], before: str = "") -> set[str]:
        found = set[str]()
        for name, value in values.items():
            whole = isinstance(value, dict) and value and name not in ("resources", "labels")
            found |= paths(value, f"{before}{name}.") if whole else {f"{before}{name}"}
        return found

    text = (CHART / "README.md").read_text().split("## Values")[1]
    named = set(re.findall(r"`([a-zA-Z.]+)`", "".join(re.findall(r"^\| (.+?) \|", text, re.M))))
    known = paths(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert known - named == set(), "not in the table"
    assert named - known == set(), "not a value"
