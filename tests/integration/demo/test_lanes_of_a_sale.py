"""`manage.py run_sale --demo --lanes 2`: a whole sale in two lanes, on services of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from devstack.state import free_port
from seckill.config.layers import BASE_DIR

# Few units and requests: nearly all of its time is the start of the services and workers.
UNITS, REQUESTS = "1001:60,1002:41", 1_000
# Seconds for all of it on a machine that does much else; alone it takes half a minute.
PATIENCE_S = 400


def test_a_demo_in_two_lanes_ends_with_the_proof_of_both(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    variables = os.environ | {"SECKILL_DEVSTACK": str(stack), "SECKILL_CONFIG": "/dev/null"}
    port = free_port(())
    flags = ("--port", str(port), "--door-port", str(free_port({port})), "--seed", "7")
    sale = subprocess.run(
        [
            *(sys.executable, "manage.py", "run_sale", "--demo", "--lanes", "2", *flags),
            *("--stock", UNITS, "--requests", str(REQUESTS), "--stop-with-parent"),
        ],
        cwd=BASE_DIR,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    said = sale.stdout
    assert sale.returncode == 0, said + sale.stderr
    # An odd unit more for the second lane.
    assert "on sale, activity 1: {'1001': 30, '1002': 20}" in said
    assert "on sale, activity 2: {'1001': 30, '1002': 21}" in said
    assert "1,000 requests for 101 units: exactly 101 sold, no one twice" in said
    assert "each answer is what the orders say" in said
    table = dict(filter(None, map(row_of, said.splitlines())))
    assert table["units sold"] == "101"
    decided, shed = table["requests decided"], table["clicks that the door answered by itself"]
    assert int(decided.replace(",", "")) + int(shed) == REQUESTS
    assert [word for name, word in table.items() if name.startswith("audit, ")] == ["clean"]
    # Its services are its own, and have ended with it.
    assert not stack.exists()
    folder = tmp_path / "stack-lanes"
    for report in ("report.html", "report-lane-2.html"):
        assert "never oversold" in (folder / report).read_text()
    status = subprocess.run(
        [sys.executable, "manage.py", "devstack", "status", "--json"],
        cwd=BASE_DIR,
        env=variables | {"SECKILL_DEVSTACK": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    services = json.loads(status.stdout)["services"]
    assert [service["state"] for service in services] == ["down"] * 3


def row_of(line: str) -> tuple[str, str] | None:
    """Name and value of a row of the result; None for any other line."""
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    return (cells[0], cells[1]) if len(cells) == 2 else None
