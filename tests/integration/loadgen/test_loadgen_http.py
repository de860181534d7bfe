"""The load generator at a door: real clicks, every one with an answer that the rows agree with."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from seckill.config.layers import BASE_DIR
from seckill.models import Record
from tests.conftest import Manage
from tests.helpers import door as helper
from tests.helpers.commands import PATIENCE_S, Ended
from tests.helpers.door import KEYS, RunningDoor
from tests.helpers.node import Node, running
from tests.helpers.sale import put_on_sale
from tests.helpers.shop import Shop

# Two items of a few units, ordered one or two units at a time; a third click is a repeat.
CROWD = """
rate: 400
users: 100000
requests: 400
items: {1001: 60, 1002: 40}
quantity: [1, 2]
multi: {share: 0.1, items: 2}
repeated: {share: 0.3}
malformed: {share: 0.05}
"""
STOCK = {1001: 50, 1002: 40}


@pytest.fixture
def kafka_client() -> str:
    """The consumer's client: one is enough here."""
    return "confluent-kafka"


@pytest.fixture
def open_door(manage: Manage, node: Node) -> Callable[..., RunningDoor]:
    """Start a door on the test's topic."""

    return partial(helper.open_door, manage, node.server)


@pytest.fixture
def consumer(node: Node) -> Iterator[None]:
    """A consumer that runs."""
    with running(node.consumer()):
        yield


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The crowd as a file."""
    path = tmp_path / "crowd.yaml"
    path.write_text(CROWD)
    return path


@pytest.fixture
def click(environment: dict[str, str], profile: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the load generator at a door: its exit code and report."""

    def run(door: RunningDoor, *flags: str, keys: str = KEYS) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [
                *(sys.executable, str(BASE_DIR / "manage.py"), "run_loadgen", "--json", "--quiet"),
                *("--http", f"http://127.0.0.1:{door.port}/", "--profile", str(profile)),
                *("--seed", "7", *flags),
            ],
            env={**environment, "SECKILL_BUYER_KEYS": keys},
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def told(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of answers."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("consumer")
def test_every_click_is_answered_and_the_rows_agree(
    open_door: Any, click: Any, manage: Manage, shop: Shop, redis_client: "redis.Redis",
    tmp_path: Path,
) -> None:  # fmt: skip
    put_on_sale(redis_client, STOCK)
    path = tmp_path / "told.jsonl"
    code, report = click(open_door(), "--answers", str(path))
    assert code == 0
    assert report["sent"] == report["planned"] == 400
    answers = Counter(report["answers"])
    assert answers.total() + sum(report["turned_away"].values()) == 400
    # What is no order is refused, and each of these by its own status.
    assert sum(report["turned_away"].values()) == report["kinds"]["malformed"] > 0
    assert set(report["turned_away"]) <= {"400", "413", "415", "422", "ClientOSError"}
    assert report["unanswered"] == 0
    assert 0 < report["answer_p50_ms"] <= report["answer_p99_ms"] <= report["answer_max_ms"]

    lines = told(path)
    assert len(lines) == 400
    accepted = {line["request_id"] for line in lines if line["state"] == "accepted"}
    assert len(accepted) == report["accepted_clicks"]
    # Twins have the key, and the answer, of the first click.
    keys = Counter((line["user"], line["key"]) for line in lines)
    assert max(keys.values()) > 1
    assert len(lines) - len(keys) == report["kinds"]["repeated"] > 0
    assert answers["ACCEPTED"] > len(accepted)

    shop.store()
    assert set(Record.objects.values_list("request_id", flat=True)) == accepted
    agrees = Ended(manage("compare_answers", str(path), "--pg-dsn", shop.dsn))
    assert agrees.code == 0, agrees.output

    # An answer that is not so is found: the wrong way round for one who has an order, and one who
    # has none.
    yes = next(line for line in lines if line["state"] == "accepted")
    no = next(line for line in lines if line["state"] == "refused")
    yes["state"], no["state"] = "refused", "accepted"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    wrong = Ended(manage("compare_answers", str(path), "--pg-dsn", shop.dsn))
    assert wrong.code == 1
    assert f"WRONG: told no, and has an order: user {yes['user']}," in wrong.output
    assert f"WRONG: told yes, and has no order: user {no['user']}," in wrong.output


@pytest.mark.usefixtures("consumer")
def test_a_hold_is_a_yes(
    open_door: Any, click: Any, manage: Manage, shop: Shop, redis_client: "redis.Redis",
    tmp_path: Path,
) -> None:  # fmt: skip
    put_on_sale(redis_client, STOCK, hold_s=600)
    path = tmp_path / "told.jsonl"
    code, report = click(open_door(), "--answers", str(path))
    assert (code, report["unanswered"], report["accepted_clicks"] > 0) == (0, 0, True)
    shop.store()
    assert Record.objects.filter(due=None).count() == 0 < Record.objects.count()
    agrees = Ended(manage("compare_answers", str(path), "--pg-dsn", shop.dsn))
    assert agrees.code == 0, agrees.output


@pytest.mark.usefixtures("consumer")
def test_limits_are_waited_for(
    open_door: Any, click: Any, redis_client: "redis.Redis", profile: Path
) -> None:
    """Two buyers click more often than the door lets them: all clicks are answered all the same."""
    profile.write_text("{rate: 100, users: 2, requests: 30, quantity: 1}")
    put_on_sale(redis_client, dict.fromkeys(range(1001, 1006), 2))
    code, report = click(open_door("--user-rate", "10", "--user-burst", "2"))
    assert (code, report["sent"], report["unanswered"]) == (0, 30, 0)
    assert report["limited"] > 0
    assert report["retries"] >= report["limited"]


@pytest.mark.usefixtures("consumer")
def test_few_connections_make_it_late_and_lose_nothing(
    open_door: Any, click: Any, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, STOCK)
    _code, report = click(open_door(), "--connections", "1", "--rate", "4000")
    assert report["sent"] == 400
    assert report["unanswered"] == 0
    assert report["blocked_seconds"] > 0
    # The time to the answer counts from when the click was due, not from when it was sent.
    assert report["answer_max_ms"] >= report["lateness_max_ms"] > 0


def test_a_door_that_does_not_know_the_buyers(
    open_door: Any, click: Any, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, STOCK)
    other = "test:another secret that no door has: 40 characters"
    code, report = click(open_door(), "--requests", "5", keys=other)
    assert (code, report["turned_away"]) == (1, {"401": 5})


def test_what_a_person_can_mend_is_one_line(manage: Manage) -> None:
    without = Ended(manage("run_loadgen", "--http", "http://127.0.0.1:1", SECKILL_BUYER_KEYS=""))
    assert (without.code, without.output.count("\n")) == (2, 1)
    assert "SECKILL_BUYER_KEYS" in without.output
    nobody = Ended(
        manage(
            *("run_loadgen", "--http", "http://127.0.0.1:1", "--connect-timeout-s", "1"),
            SECKILL_BUYER_KEYS=KEYS,
        )
    )
    assert nobody.code == 3
    assert "Nothing was sent" in nobody.output
    assert "Traceback" not in nobody.output
    wrong = Ended(manage("run_loadgen", "--http", "door:3001"))
    assert wrong.code == 2
    assert "scheme (http or https), host and port" in wrong.output
