"""deploy/systemd: what can be proved of the units without a machine that runs them."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from seckill.config.layers import BASE_DIR
from seckill.consumer.children import STOP_S
from seckill.process.exit_codes import USAGE
from seckill.web.door.serve import GRACE_S
from tests.unit.project.compose_file import service

FOLDER = BASE_DIR / "deploy" / "systemd"
# {unit: the service of docker-compose.yml that is the same process}
UNITS = {
    "seckill-consumer": "consumer",
    "seckill-door": "door",
    "seckill-events": "events",
    "seckill-log-worker": "log-worker",
    "seckill-settler": "settler",
    "seckill-web": "web",
    "seckill-webhooks": "webhooks",
}
PROGRAM = "/opt/seckill/.venv/bin/python manage.py "


def read(unit: str) -> configparser.ConfigParser:
    """A unit's sections; each option once."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(FOLDER / f"{unit}.service", encoding="utf-8")
    return parser


def test_each_process_of_a_sale_has_a_unit() -> None:
    assert {file.stem for file in FOLDER.glob("*.service")} == set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_command_and_flags(unit: str) -> None:
    start = read(unit)["Service"]["ExecStart"]
    assert start.startswith(PROGRAM)
    command, *flags = shlex.split(start.removeprefix(PROGRAM))
    assert command == service(UNITS[unit])["command"][0]
    load_command_class(get_commands()[command], command).create_parser("", command).parse_args(
        flags
    )


def test_no_two_serve_metrics_on_one_port() -> None:
    ports = [re.findall(r"--metrics-port (\d+)", read(u)["Service"]["ExecStart"]) for u in UNITS]
    assert len({port for (port,) in ports}) == len(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_end_and_restart(unit: str) -> None:
    section = read(unit)["Service"]
    grace = int(section["TimeoutStopSec"])
    assert grace == int(service(UNITS[unit])["stop_grace_period"].removesuffix("s"))
    assert section["Restart"] == "always"
    assert read(unit)["Unit"]["StartLimitIntervalSec"] == "0"
    assert section["RestartPreventExitStatus"] == str(USAGE)
    if unit in ("seckill-consumer", "seckill-settler"):
        assert grace >= STOP_S + 10
        assert section["KillMode"] == "mixed"
    if unit == "seckill-door":
        assert grace >= 2 * GRACE_S + 5
        assert int(section["LimitNOFILE"]) == service("door")["ulimits"]["nofile"]


@pytest.mark.parametrize("unit", UNITS)
def test_no_secret_and_no_rights(unit: str) -> None:
    section = read(unit)["Service"]
    assert section["EnvironmentFile"] == "/etc/seckill/seckill.env"
    assert not re.search(r"PASSWORD|SECRET|://", section["Environment"] + section["ExecStart"])
    assert section["User"] not in ("root", "0")
    assert section["CapabilityBoundingSet"] == ""
    assert section["ProtectSystem"] == "strict"
    assert section["NoNewPrivileges"] == "yes"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here to ask")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_it(unit: str, tmp_path: Path) -> None:
    """It wants the program to be there: this environment's stands in its place, below a path with
    a space, in quotes."""
    text = (FOLDER / f"{unit}.service").read_text(encoding="utf-8")
    (tmp_path / "a place").symlink_to(Path(sys.executable).parent)
    python = f'"{tmp_path}/a place/{Path(sys.executable).name}"'
    text = text.replace("/opt/seckill/.venv/bin/python", python)
    (tmp_path / f"{unit}.service").write_text(text, encoding="utf-8")
    asked = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{unit}.service")]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=120)
    # It names faults of other units of the machine too.
    own = [line for line in answer.stderr.splitlines() if unit in line]
    assert own == [], answer.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here to ask")
def test_systemd_would_tell(tmp_path: Path) -> None:
    text = (FOLDER / "seckill-web.service").read_text(encoding="utf-8")
    (tmp_path / "seckill-web.service").write_text(text.replace("Restart=always", "Restart=ever"))
    asked = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "seckill-web.service")]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=120)
    assert "restart spec" in answer.stderr
