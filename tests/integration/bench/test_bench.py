"""`manage.py bench` as a process: no rate without a clean audit."""

import os
import subprocess
import sys

from seckill.config.layers import BASE_DIR
from seckill.process.exit_codes import FAILED

# Two scenarios on the bench's own services: of the second one a unit goes missing.
PROGRAM = """
import sys
import django
django.setup()
from bench.figures import Figure
from bench.management.commands import bench
from django.core.management import execute_from_command_line
from seckill.lane.keys import Lane

def honest(rig):
    rig.clean({1001: 10})
    rig.audit()
    return [Figure("honest", "rate", [123456.0], "/s")]

def leaking(rig):
    rig.clean({1001: 10})
    rig.client.hincrby(Lane().activity(1).stock, "1001", -1)
    rig.audit()
    return [Figure("leaking", "rate", [654321.0], "/s")]

bench.SCENARIOS.clear()
bench.SCENARIOS.update(honest=honest, leaking=leaking)
execute_from_command_line(["manage.py", "bench", *sys.argv[1:]])
"""


def test_a_run_whose_audit_fails_has_no_figures() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SECKILL_")}
    environment |= {"DJANGO_SETTINGS_MODULE": "seckill_project.settings", "PYTHONPATH": "."}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, "--json", *arguments],
            env=environment,
            cwd=BASE_DIR,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    leaking = run()
    assert leaking.returncode == FAILED, leaking.stderr
    assert "no figures, the audit failed" in leaking.stderr
    assert leaking.stdout == ""
    assert "123" not in leaking.stderr.partition("no figures")[2]
