"""The script for k6, at a real door. k6 is not installed here: Node runs the script, and
`k6_standin.mjs` has the few calls of k6 that it makes. Nothing is said of k6 itself.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from seckill.config.layers import BASE_DIR
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from tests.helpers.door import OpenDoor, RunningDoor, token_of
from tests.helpers.sale import put_on_sale, waiting

SCRIPT = BASE_DIR / "loadgen" / "k6" / "click.js"
STANDIN = Path(__file__).with_name("k6_standin.mjs")
RUN = """
import click, { options } from "./click.mjs";
import { run } from "./standin.mjs";
process.stdout.write(JSON.stringify({ options, ...run(click, Number(process.argv[2])) }));
"""


def play(
    folder: Path, door: RunningDoor, clicks: int, users: int = 8, **env: str
) -> dict[str, Any]:
    """What so many iterations of the script count."""
    script = SCRIPT.read_text()
    script = re.sub(r'from "k6[^"]*"', 'from "./standin.mjs"', script)
    # k6 gives these two as a module's default.
    script = re.sub(r"^import (exec|http) from", r"import { \1 } from", script, flags=re.MULTILINE)
    (folder / "click.mjs").write_text(script)
    (folder / "standin.mjs").write_text(STANDIN.read_text())
    (folder / "run.mjs").write_text(RUN)
    (folder / "tokens.txt").write_text("".join(f"{token_of(n)}\n" for n in range(1, users + 1)))
    asked = {"DOOR": f"http://127.0.0.1:{door.port}/", "TOKENS": str(folder / "tokens.txt")}
    done = subprocess.run(
        ["node", str(folder / "run.mjs"), str(clicks)],
        env={"PATH": os.environ["PATH"], **asked, **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_syntax(tmp_path: Path) -> None:
    module = tmp_path / "click.mjs"
    module.write_text(SCRIPT.read_text())
    asked = ["node", "--check", str(module)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize("twins", ["0", "1"])
def test_it_counts_what_the_sale_has(
    tmp_path: Path, door: RunningDoor, redis_client: "redis.Redis", twins: str
) -> None:
    put_on_sale(redis_client, {1001: 5})
    found = play(tmp_path, door, 8, TWINS=twins)
    counters = found["counters"]
    assert (counters["answers_accepted"], counters["answers_refused"]) == (5, 3)
    assert counters["clicks_without_answer"] == counters["clicks_turned_away"] == 0
    assert found["checks"] == {"passes": 8 * int(twins), "fails": 0}
    assert len(waiting(redis_client)) == 5
    assert read_lane(redis_client, Lane()).activities[1].items[1001].left == 0


@pytest.mark.usefixtures("consumer")
def test_a_limited_buyer_asks_again_and_a_stranger_is_turned_away(
    tmp_path: Path, open_door: OpenDoor, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 50})
    narrow = open_door("--user-rate", "0.1", "--user-burst", "1")
    found = play(tmp_path, narrow, 3, users=1, TWINS="0")
    assert found["counters"]["asked_again"] > 0
    assert found["counters"]["answers_accepted"] + found["counters"]["answers_refused"] == 3
    stranger = open_door(SECKILL_BUYER_KEYS=f"other:{'x' * 40}")
    found = play(tmp_path, stranger, 2, TWINS="0")
    assert found["counters"]["clicks_turned_away"] == 2


def test_the_end_waits_for_every_buyer() -> None:
    """k6 cuts off what is on its way after `gracefulStop`, and counts it nowhere."""
    script = SCRIPT.read_text()
    give_up = int(re.findall(r"^const GIVE_UP = (\d+);", script, re.MULTILINE)[0])
    grace = int(re.findall(r"gracefulStop: `\$\{GIVE_UP \+ (\d+)\}s`", script)[0])
    timeout = max(int(seconds) for seconds in re.findall(r'timeout: "(\d+)s"', script))
    assert grace > timeout
    assert give_up > timeout
    assert 'dropped_iterations: ["count==0"]' in script
