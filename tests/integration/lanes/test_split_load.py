"""`run_loadgen --split` into a sale over two lanes: each request reaches the part of its user."""

import json
from pathlib import Path

import pytest
import redis
import yaml
from django.db.models import Sum

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.formats.parts import part_of_user
from seckill.models import Record
from tests.conftest import Manage
from tests.faults.lanes import Lanes
from tests.helpers.servers import own_valkey
from tests.helpers.split_sale import HEAD, PART

UNITS, REQUESTS = 300, 1_500


@pytest.mark.parametrize("processes", [1, 2])
def test_a_load_is_spread_over_the_lanes_and_nothing_goes_astray(
    manage: Manage,
    server: Server,
    topics: Topics,
    redis_client: "redis.Redis",
    tmp_path: Path,
    processes: int,
) -> None:
    profile = tmp_path / "crowd.yaml"
    crowd = {"rate": 1_000, "requests": REQUESTS, "users": 800, "items": [1001], "quantity": 1}
    profile.write_text(yaml.safe_dump({**crowd, "activities": {HEAD: 1}}))
    with (
        own_valkey(tmp_path) as north,
        Lanes(manage, server, tmp_path, ("north",), {"north": north}, crowd) as two,
    ):
        two.run("activity", "create", "1", "--stock", f"1001:{UNITS}", "--user-limit", "1")
        two.run("activity", "split", "1", "--lanes", "main,north")
        for name in two.names:
            two.consumer(name)
            two.log_worker(name)
        flags = ("--profile", str(profile), "--processes", str(processes), "--json", "--quiet")
        sent = json.loads(two.run("run_loadgen", "--split", *flags).splitlines()[-1])
        assert (sent["delivered"], sent["failed"]) == (REQUESTS, 0)

        report = two.prove()
        lanes = [two.look(name) for name in two.names]
        assert sum(lane.decided for lane in lanes) == REQUESTS
        # Both have much of it, and nobody asked in the wrong lane.
        assert min(lane.decided for lane in lanes) > REQUESTS // 3
        assert [(lane.no_such_activity, lane.invalid) for lane in lanes] == [(0, 0), (0, 0)]
        assert report["units_sold"] == UNITS
        sold = Record.objects.filter(activity_id__in=(HEAD, PART))
        assert sold.aggregate(units=Sum("quantity"))["units"] == UNITS
        for activity, user in sold.values_list("activity_id", "user_id"):
            assert (HEAD, PART)[part_of_user(user, 2)] == activity
