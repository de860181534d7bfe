"""Metrics, alert rules, dashboard and their pages: all speak of the same names.

promtool checks and tests the rules themselves (`make rules`); this holds them to the code.
"""

import json
import re
from typing import Any

import yaml

from seckill.config.layers import BASE_DIR
from seckill.lane.status import Histogram
from seckill.monitoring import metric_names
from seckill.monitoring.metric_names import METRICS, Metric
from seckill.monitoring.metrics import BOUNDS_MS, cumulative
from tests.unit.project.compose_file import MONITORING, WORKERS, dotenv, environment, service

DEPLOY = BASE_DIR / "deploy"
SERVED = {m.served_as for m in METRICS if m.kind != "histogram"} | {
    f"{m.name}_{part}" for m in METRICS if m.kind == "histogram"
    for part in ("bucket", "count", "sum")
}  # fmt: skip
WORD = re.compile(r"\b(?:seckill|process)_\w+")
RECORDED = re.compile(r"\bseckill:[\w:]+")


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (DEPLOY / "grafana/dashboards/seckill.json").read_text()
    )["panels"]
    return found


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + asked


def test_names_are_as_prometheus_wants_them() -> None:
    assert len(METRICS) == len({metric.name for metric in METRICS}) > 20
    for metric in METRICS:
        assert re.fullmatch(r"seckill_[a-z_]+", metric.name)
        assert not metric.name.endswith("_total"), "prometheus_client adds it"
        for unit in ("seconds", "bytes"):
            assert (metric.unit == unit) == metric.name.endswith(unit)


def test_no_metric_is_forgotten_in_the_list() -> None:
    made = [value for value in vars(metric_names).values() if isinstance(value, Metric)]
    assert made == list(METRICS)


def test_the_page_has_every_metric_and_no_other() -> None:
    page = (BASE_DIR / "docs/monitoring.md").read_text()
    table = re.findall(r"^\| `(seckill_\w+)` \| (\w+) \| (\w+) \| (.*?) \| (.*?) \|$", page, re.M)
    assert table == [
        (m.served_as, m.kind, m.unit, " ".join(f"`{label}`" for label in m.labels), m.meaning)
        for m in METRICS
    ]


def test_rules_and_panels_ask_for_what_is_served() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked: set[str] = set()
    for expression in expressions():
        words = set(WORD.findall(expression))
        assert words <= SERVED | {"process_cpu_seconds_total"}, expression
        assert set(RECORDED.findall(expression)) <= recorded, expression
        asked |= words
    # What a person would miss.
    for metric in (metric_names.STOCK, metric_names.LAG, metric_names.AUDIT_VERDICT):
        assert metric.served_as in asked


def test_every_alert_says_what_it_means_and_where_to_read_on() -> None:
    page = (BASE_DIR / "docs/runbooks/during.md").read_text()
    sections = {line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")}
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    assert {name for name in sections if name.startswith("Seckill")} == set(alerts)
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/during.md#{name.lower()}"
        assert {"summary", "meaning"} < set(rule["annotations"])


def test_every_alert_is_tested() -> None:
    text = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    for rule in rules():
        if "alert" in rule:
            assert rule["alert"] in text


def test_the_example_of_who_is_told_knows_our_alerts_and_holds_no_secret() -> None:
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    told = yaml.safe_load(text)
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    alerts = {
        rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    named = set(re.findall(r"Seckill\w+", text))
    assert named
    assert named <= alerts
    ways = {way for receiver in told["receivers"] for way in receiver if way != "name"}
    assert ways == {"email_configs", "slack_configs", "webhook_configs"}
    secrets = [name for name in told["global"] if "password" in name or "api_url" in name]
    assert secrets
    assert all(name.endswith("_file") for name in secrets)


def test_panels_have_a_place_and_a_meaning() -> None:
    places = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["description"]
        assert panel["datasource"]["uid"] == "seckill"
        places.add((place["x"], place["y"]))
    assert len(places) == len(panels())


def test_prometheus_scrapes_every_process_of_the_compose_file() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    (targets,) = (config["targets"] for config in job["static_configs"])
    env = dotenv(optional=False)
    assert set(targets) == {
        f"{name}:{environment(name, env)['SECKILL_METRICS_PORT']}" for name in WORKERS
    }
    for name in WORKERS | MONITORING:
        assert "backend" in service(name)["networks"]
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert source["datasources"][0]["uid"] == "seckill"


def test_buckets_add_up() -> None:
    buckets, total = cumulative(Histogram({0: 1, 1: 2, 15: 4, 16: 8, 120: 16, 10**6: 32}))
    counts = dict(buckets)
    assert list(counts) == [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
    # A request of 16.x ms is above 16 ms; one of 15.x below.
    assert (counts["0.001"], counts["0.002"], counts["0.016"]) == (1, 3, 7)
    assert (counts["0.032"], counts["0.128"], counts["65.536"], counts["+Inf"]) == (15, 31, 31, 63)
    assert 32 * 1000 < total < 32 * 1060 + 3
