"""Variables that Kubernetes injects are no configuration errors; wrong ones of ours still are."""

from pathlib import Path

import pytest

from seckill.config.kubernetes import is_injected, without_injected
from seckill.config.layers import ConfigError, load
from seckill.config.sections import ControlApi


def injected(
    service: str, address: str = "10.0.0.1", port: int = 3000, *names: str, protocol: str = "TCP"
) -> dict[str, str]:
    """What the kubelet makes for a service with one port, which has these names."""
    name = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    link = f"{protocol.lower()}://{host}:{port}"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        **{f"{name}_SERVICE_PORT_{n.upper().replace('-', '_')}": str(port) for n in names},
        f"{name}_PORT": link,
        f"{name}_PORT_{port}_{protocol}": link,
        f"{name}_PORT_{port}_{protocol}_PROTO": protocol.lower(),
        f"{name}_PORT_{port}_{protocol}_PORT": str(port),
        f"{name}_PORT_{port}_{protocol}_ADDR": address,
    }


SERVICES = (
    injected("seckill"),
    injected("seckill-web", "10.0.0.2", 80, "http", "http-metrics"),
    injected("seckill-metrics", "fd00::1", 9101),
    injected("seckill-log-worker-2", protocol="UDP"),
    injected("seckill-port", protocol="SCTP"),
    injected("seckill-service-host"),
)
EVERY = [(name, value) for service in SERVICES for name, value in service.items()]


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    return {"SECKILL_CONFIG": "/dev/null", "SECKILL_DEVSTACK": str(tmp_path)}


@pytest.mark.parametrize(("name", "value"), EVERY, ids=[name for name, _ in EVERY])
def test_each_form_alone_is_no_configuration(
    name: str, value: str, nowhere: dict[str, str]
) -> None:
    assert is_injected(name, value)
    assert load(ControlApi, {}, {**nowhere, name: value}) == load(ControlApi, {}, nowhere)


def test_all_of_them_beside_what_is_ours(nowhere: dict[str, str]) -> None:
    ours = {**nowhere, "SECKILL_HOST": "0.0.0.0", "SECKILL_METRICS_PORT": "9101"}
    theirs = dict(EVERY)
    theirs.pop("SECKILL_METRICS_PORT")
    assert without_injected({**theirs, **ours}) == ours
    settings = load(ControlApi, {}, {**theirs, **ours})
    assert (settings.host, settings.port, settings.metrics_port) == ("0.0.0.0", 3000, 9101)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECKILL_PROT", "tcp://10.0.0.1:3000", "did you mean SECKILL_PORT?"),
        ("SECKILL_PORTS", "3000", "did you mean SECKILL_PORT?"),
        ("SECKILL_METRIC_PORT", "9101", "did you mean SECKILL_METRICS_PORT?"),
        ("SECKILL_METRICS_HOSTS", "10.0.0.1", "did you mean SECKILL_METRICS_HOST?"),
        ("SECKILL_WEB_SERVICE_HOST", "web.example", "unknown variable SECKILL_WEB_SERVICE_HOST"),
        ("SECKILL_WEB_SERVICE_PORT", "http", "unknown variable SECKILL_WEB_SERVICE_PORT"),
        ("SECKILL_WEB_PORT_3000", "tcp://10.0.0.1:3000", "unknown variable SECKILL_WEB_PORT_3000"),
        ("SECKILL_WEB_PORT_3000_TCP_PROTO", "udp ", "unknown variable"),
        ("SECKILL_WEB_PORT_3000_TCP_NAME", "web", "unknown variable"),
        ("SECKILL_WEB_PORT_X_TCP_ADDR", "10.0.0.1", "unknown variable"),
        ("SECKILL_PORT", "http://10.0.0.1:3000", "SECKILL_PORT: "),
        ("SECKILL_PORT", "tcp://10.0.0.999:3000", "SECKILL_PORT: "),
        ("SECKILL_PORT", "tcp://10.0.0.1", "SECKILL_PORT: "),
        ("SECKILL_PORT", "three thousand", "SECKILL_PORT: "),
        ("SECKILL_RATE_LIMITS", "5", "did you mean SECKILL_RATE_LIMIT?"),
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_an_error_as_before(
    name: str, value: str, words: str, nowhere: dict[str, str]
) -> None:
    assert not is_injected(name, value)
    with pytest.raises(ConfigError) as wrong:
        load(ControlApi, {}, {**nowhere, name: value})
    assert words in str(wrong.value)
