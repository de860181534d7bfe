"""The chart as helm renders it. Owns the calls of helm; judges nothing."""

import os
import subprocess
from functools import cache
from typing import Any

import yaml

from seckill.config.layers import BASE_DIR

CHART = BASE_DIR / "deploy" / "helm" / "seckill"
TOOLS = BASE_DIR / ".chart"
KUBERNETES = ("1.27", "1.37")
VALUES = sorted(file.name.removesuffix("-values.yaml") for file in (CHART / "ci").glob("*.yaml"))
Document = dict[str, Any]


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """helm, which `make test-chart` builds. Its word on the links below files/ is no error."""
    asked = [str(TOOLS / "bin" / "helm"), *arguments]
    home = {"HELM_CACHE_HOME": str(TOOLS / "cache"), "HELM_CONFIG_HOME": str(TOOLS / "config")}
    return subprocess.run(
        asked, env={**os.environ, **home}, capture_output=True, text=True, check=False
    )


def template(
    values: str, *more: str, version: str = KUBERNETES[1]
) -> "subprocess.CompletedProcess[str]":
    """What `helm template` says to a file of ci/, and to flags as `--set a=b`."""
    file = str(CHART / "ci" / f"{values}-values.yaml")
    return helm("template", "sale", str(CHART), "--kube-version", version, "--values", file, *more)


@cache
def rendered(values: str, *more: str, version: str = KUBERNETES[1]) -> tuple[Document, ...]:
    """The objects that the chart makes of a file of ci/."""
    done = template(values, *more, version=version)
    assert done.returncode == 0, done.stderr
    return tuple(document for document in yaml.safe_load_all(done.stdout) if document)


def kinds(documents: tuple[Document, ...], kind: str) -> dict[str, Document]:
    """{name without the release's: object} of one kind."""
    return {
        document["metadata"]["name"].removeprefix("sale-seckill").removeprefix("-"): document
        for document in documents
        if document["kind"] == kind
    }


def pods(documents: tuple[Document, ...]) -> dict[str, Document]:
    """{kind/name: pod's spec} of whatever makes pods."""
    found = {}
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in ("Deployment", "Job"):
            spec = spec["template"]["spec"]
        elif document["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]["template"]["spec"]
        elif document["kind"] != "Pod":
            continue
        found[f"{document['kind']}/{document['metadata']['name']}"] = spec
    return found


def containers(documents: tuple[Document, ...]) -> dict[str, Document]:
    """{kind/name/container: container} of all pods."""
    return {
        f"{name}/{each['name']}": each
        for name, spec in pods(documents).items()
        for each in (*spec.get("initContainers", ()), *spec["containers"])
    }


def environment(container: Document) -> dict[str, str]:
    """What its process finds: what comes from a Secret as `<Secret/key>`, references resolved."""
    found: dict[str, str] = {}
    for entry in container.get("env", ()):
        if "valueFrom" in entry:
            key = entry["valueFrom"]["secretKeyRef"]
            value = f"<{key['name']}/{key['key']}>"
        else:
            value = entry["value"]
            for name, known in found.items():
                value = value.replace(f"$({name})", known)
        assert entry["name"] not in found, f"{entry['name']} twice"
        found[entry["name"]] = value
    return found
