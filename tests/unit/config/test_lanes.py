"""Section `lanes`: what a lane beside main gets, and which configurations would mix two of them."""

from pathlib import Path

import pytest

from seckill.config.layers import ConfigError, lane_addresses, lane_names, load
from seckill.config.sections import Client, LogWorker, Server, Settler
from seckill.formats.lanes import check_lane_name
from seckill.lane.keys import DEFAULT_LIST, Lane
from seckill.process.printable import without_addresses

TWO = """
server: {topic: requests, group_id: deciders, redis_url: "redis://one/0"}
lanes:
  north: {redis_url: "redis://:secret-of-north@two/0", topic: north, group_id: north-deciders}
  south-1: {topic: south, group_id: south-deciders}
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config.yaml").write_text(TWO, encoding="utf-8")
    return {
        "SECKILL_CONFIG": str(tmp_path / "config.yaml"),
        "SECKILL_DEVSTACK": str(tmp_path / "devstack"),
    }


def written(environ: dict[str, str], text: str) -> dict[str, str]:
    Path(environ["SECKILL_CONFIG"]).write_text(text, encoding="utf-8")
    return environ


def test_a_lane_has_its_own_redis_topic_and_group(environ: dict[str, str]) -> None:
    assert lane_addresses("redis://flag/0", environ) == {
        "main": "redis://flag/0",
        "north": "redis://:secret-of-north@two/0",
        "south-1": "redis://flag/0",
    }
    main, north = load(Server, {}, environ), load(Server, {}, environ, "north")
    assert (main.topic, main.group_id, main.redis_url) == ("requests", "deciders", "redis://one/0")
    assert (north.topic, north.group_id) == ("north", "north-deciders")
    assert north.redis_url == "redis://:secret-of-north@two/0"
    assert load(LogWorker, {}, environ, "north").redis_url == north.redis_url
    assert load(Client, {}, environ, "north").topic == "north"
    settler = load(Settler, {}, environ, "north").of_settlements()
    assert (settler.topic, settler.group_id) == ("north.settle", "north-deciders-settler")
    # One that names no Redis has that of main.
    assert load(Server, {}, environ, "south-1").redis_url == "redis://one/0"


def test_the_environment_is_of_lane_main_and_a_flag_of_the_lane_that_it_names(
    environ: dict[str, str],
) -> None:
    environ |= {"SECKILL_TOPIC": "elsewhere", "SECKILL_REDIS_URL": "redis://three/0"}
    assert load(Server, {}, environ).topic == "elsewhere"
    north = load(Server, {}, environ, "north")
    assert (north.topic, north.redis_url) == ("north", "redis://:secret-of-north@two/0")
    assert load(Server, {}, environ, "south-1").redis_url == "redis://three/0"
    assert load(Server, {"topic": "flagged"}, environ, "north").topic == "flagged"
    environ["SECKILL_LANE_SOUTH_1_REDIS_URL"] = "redis://four/0"
    assert load(Server, {}, environ, "south-1").redis_url == "redis://four/0"


def test_the_address_of_a_lane_comes_in_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text("redis://:in-a-file@four/0\n")
    named = environ | {"SECKILL_LANE_SOUTH_1_REDIS_URL_FILE": str(file)}
    assert load(Server, {}, named, "south-1").redis_url == "redis://:in-a-file@four/0"
    assert lane_addresses("redis://flag/0", named)["south-1"] == "redis://:in-a-file@four/0"
    both = named | {"SECKILL_LANE_SOUTH_1_REDIS_URL": "redis://five/0"}
    with pytest.raises(ConfigError, match="REDIS_URL_FILE are both set"):
        load(Server, {}, both)
    file.write_text("redis://:secret#cut@four/0")
    with pytest.raises(ConfigError) as told:
        load(Server, {}, named, "south-1")
    assert "secret" not in str(told.value)
    with pytest.raises(ConfigError, match="unknown variable SECKILL_LANE_EAST_REDIS_URL_FILE"):
        load(Server, {}, environ | {"SECKILL_LANE_EAST_REDIS_URL_FILE": str(file)})


def test_all_lanes_main_first(environ: dict[str, str]) -> None:
    assert lane_names(environ) == ["main", "north", "south-1"]
    assert lane_names(written(environ, "")) == ["main"]


def test_an_unknown_lane_is_told_with_the_known_ones(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"no lane 'nort'; known: main, north, south-1"):
        load(Server, {}, environ, "nort")
    with pytest.raises(ConfigError, match=r"no lane 'north'; known: main\."):
        load(Server, {}, written(environ, ""), "north")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lanes: {a: {topic: requests, group_id: g}}", "lanes main and a share topic requests"),
        ("lanes: {a: {topic: t, group_id: deciders}}", "main and a share group_id deciders"),
        ("lanes: {a: {topic: t, group_id: g}, b: {topic: t, group_id: h}}", "a and b share topic"),
        ("lanes: {a: {topic: t, group_id: g}, b: {topic: u, group_id: g}}", "share group_id g"),
        ("lanes: {a: {topic: requests.settle, group_id: g}}", "share topic requests"),
        ("lanes: {a: {topic: t, group_id: deciders-settler}}", "share group_id deciders"),
        ("lanes: {a: {topic: t}}", r"lanes\.a\.group_id: Field required"),
        ("lanes: {a: {topic: t, group_id: g, list: mine}}", r"unknown key lanes\.a\.list"),
        ("lanes: {a: {topic: 't!', group_id: g}}", r"lanes\.a\.topic: .*given: 't!'"),
        ("lanes: {main: {topic: t, group_id: g}}", r"lanes\.main: .*other sections"),
        ("lanes: {dead: {topic: t, group_id: g}}", r"lanes\.dead: a lane's name"),
        ("lanes: {all: {topic: t, group_id: g}}", r"lanes\.all: a lane's name"),
        ("lanes: {North: {topic: t, group_id: g}}", r"lanes\.North: a lane's name"),
        ("lanes: {a: requests}", r"lanes\.a must hold"),
        ("lanes: [a]", "section lanes must hold"),
    ],
)
def test_what_would_mix_two_lanes_or_is_no_lane_is_refused(
    environ: dict[str, str], text: str, told: str
) -> None:
    main = "server: {topic: requests, group_id: deciders}\n"
    with pytest.raises(ConfigError, match=told):
        load(Server, {}, written(environ, main + text))


def test_a_flag_cannot_make_two_lanes_share_a_topic(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="lanes main and north share topic north"):
        load(Server, {"topic": "north"}, environ)
    with pytest.raises(ConfigError, match="lanes main and north share topic requests"):
        load(Server, {"topic": "requests"}, environ, "north")


def test_no_message_has_a_part_of_a_lanes_password(environ: dict[str, str]) -> None:
    wrong = TWO.replace("redis://:secret-of-north@two", "redis://:secret#of-north@two")
    with pytest.raises(ConfigError) as told:
        load(Server, {}, written(environ, wrong))
    assert "secret" not in str(told.value)
    assert "lanes.north.redis_url" in str(told.value)
    assert "secret" not in without_addresses(repr(load(Server, {}, written(environ, TWO))))


def test_a_lanes_list_follows_from_its_name() -> None:
    assert Lane.named("main") == Lane() == Lane(DEFAULT_LIST)
    assert Lane.named("north").list == "seckill:logs:north"
    assert [Lane.named(name).name for name in ("main", "north")] == ["main", "north"]
    # The one name whose list is a key of lane main.
    assert Lane().dead == "seckill:logs:dead"
    for name in ("dead", "all", "", "-a", "A", "a:b", "a" * 33):
        with pytest.raises(ValueError, match="a lane's name"):
            check_lane_name(name)
        with pytest.raises(ValueError, match="a lane's name"):
            Lane.named(name)
