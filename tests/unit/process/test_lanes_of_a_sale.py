"""`run_sale --lanes N`: its file, its services, and which part of everything is a lane's."""

from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command

from demo import lanes
from loadgen.profile_file import read_profile
from seckill.config.layers import lane_names, load
from seckill.config.sections import Server


def test_it_has_lanes_and_services_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "server: {topic: mine, redis_password: hunter2}\n"
        "lanes: {north: {redis_url: 'redis://prod/0', topic: t, group_id: g}}\n"
    )
    environ = {
        "SECKILL_DEVSTACK": str(tmp_path / "stack"),
        "SECKILL_CONFIG": str(file),
        "SECKILL_LANE_NORTH_REDIS_URL": "redis://prod/1",
    }
    lanes.enter(environ, 3)
    assert lane_names(environ) == ["main", "lane-2", "lane-3"] == lanes.names(3)
    assert environ["SECKILL_DEVSTACK"] == str(tmp_path / "stack-lanes")
    assert load(Server, environ=environ).topic == "mine"
    assert load(Server, environ=environ, lane="lane-3").topic == "seckill_requests_lane-3"
    # A password of the file is as safe as it was.
    assert Path(environ["SECKILL_CONFIG"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("total", "number"), [(250_000, 2), (7, 3), (1, 4), (0, 2)])
def test_the_shares_are_all_of_it(total: int, number: int) -> None:
    shares = [lanes.share(total, number, n) for n in range(number)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_a_profile_asks_for_the_activities_of_a_lane(tmp_path: Path) -> None:
    profile = read_profile(lanes.profile_for("sale", {1: 1.0, 2: 1.0}, tmp_path))
    assert profile.activities == {1: 1.0, 2: 1.0}
    assert profile.model_copy(update={"activities": None}) == read_profile("sale").model_copy(
        update={"activities": None}
    )
    assert yaml.safe_load((tmp_path / "profile-1-2.yaml").read_text())["users"] == 1_000_000


def test_more_lanes_than_it_can_play_are_refused() -> None:
    with pytest.raises(CommandError, match="'9' is more than 8"):
        call_command("run_sale", "--lanes", "9")
