"""Two lanes behind one web process: each activity is steered and shown in its own."""

from typing import Any

import pytest
import redis
from django.test import Client

from seckill.lane.fence import fence
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity
from tests.integration.web.pages import ACTIVITIES, DEAD_REDIS, ORDERS, Ask, confirm, seed, text

NORTH = Lane.named("north")


@pytest.fixture
def both(two_lanes: None, ask: Ask) -> None:
    """A sale in each: 1 in main, 2 in north."""
    for body in (
        {"activity_id": 1, "stock": {"1001": 10}},
        {"activity_id": 2, "stock": {"1001": 20}, "lane": "north", "name": "Snow"},
    ):
        assert ask("POST", "/v1/activities", body).status_code == 201


def test_the_api_acts_and_looks_in_the_lane_of_the_activity(
    both: None, ask: Ask, redis_client: "redis.Redis"
) -> None:
    listed = ask("GET", "/v1/activities").json()["activities"]
    assert [(row["activity_id"], row["lane"], row["version"]) for row in listed] == [
        (1, "main", 1),
        (2, "north", 1),
    ]
    assert ask("POST", "/v1/activities/2/pause", {}).status_code == 200
    assert ask("POST", "/v1/activities/2/add_stock", {"value": {"1001": 5}}).status_code == 200
    assert ask("POST", "/set_stock?activity_id=2", {"value": {"1002": 1}}).status_code == 200
    shown = ask("GET", "/v1/activities/2").json()
    assert shown["live"]["paused"]
    assert shown["live"]["stock"] == {"1001": 25, "1002": 1}
    items = ask("GET", "/v1/activities/2/items").json()["items"]
    assert [item["left"] for item in items] == [25, 1]
    assert ask("GET", "/status?activity_id=2").json()["stock"] == {"1001": 25, "1002": 1}
    assert set(read_lane(redis_client, Lane()).activities) == {1}
    assert set(read_lane(redis_client, NORTH).activities) == {2}


def test_status_and_audit_of_a_lane_are_asked_for_by_its_name(both: None, ask: Ask) -> None:
    for query, activity in (("", 1), ("?lane=main", 1), ("?lane=north", 2)):
        shown = ask("GET", f"/v1/status{query}").json()["activities"]
        assert [row["activity_id"] for row in shown] == [activity]
    assert ask("GET", "/v1/audit?lane=north").status_code == 404
    for path in ("/v1/status?lane=east", "/v1/audit?lane=east"):
        refused = ask("GET", path)
        assert refused.status_code == 404
        assert "there is no lane east; known: main, north" in refused.json()["detail"]
    made = ask("POST", "/v1/activities", {"activity_id": 3, "lane": "east"})
    assert made.status_code == 409
    assert not Activity.objects.filter(pk=3).exists()


def test_what_is_in_a_lane_that_is_not_configured_is_left_alone(
    both: None, ask: Ask, settings: Any
) -> None:
    settings.LANES = ["main"]
    refused = ask("POST", "/v1/activities/2/sync_from_db", {})
    assert refused.status_code == 409
    assert "activity 2 is in lane north, and this is lane main" in refused.json()["detail"]
    settings.LANES = ["main", "south"]
    assert ask("POST", "/v1/activities/2/sync_from_db", {}).status_code == 503


def test_pages_name_the_lane_and_steer_in_it(
    both: None, operator: Client, redis_client: "redis.Redis"
) -> None:
    assert "Desk: 2 · Snow, lane north" in text(operator.get(f"{ACTIVITIES}2/desk/"))
    data = operator.get(f"{ACTIVITIES}2/desk/data/").json()
    assert data["activity"]["version"] == 1
    commands = [alert["command"] for alert in data["alerts"]]
    assert "manage.py run_log_worker --lane north" in commands
    of_main = operator.get(f"{ACTIVITIES}1/desk/data/").json()["alerts"]
    assert "manage.py run_log_worker" in [alert["command"] for alert in of_main]
    shown = text(operator.get("/admin/"))
    assert "2 · Snow, lane north" in shown
    assert "Lane main:" in shown
    assert "Lane north:" in shown
    listed = text(operator.get(ACTIVITIES))
    assert "lane north: 0 orders waiting to be stored" in listed
    confirm(operator, f"{ACTIVITIES}2/pause/")
    assert read_lane(redis_client, NORTH).activities[2].paused


def test_what_is_refused_or_missing_says_what_to_run_in_its_lane(
    both: None, ask: Ask, operator: Client, redis_client: "redis.Redis"
) -> None:
    assert "manage.py audit --lane north" in ask("GET", "/v1/audit?lane=north").json()["detail"]
    fence(redis_client, NORTH, "REWOUND", "it is older")
    refused = ask("POST", "/v1/activities/2/pause", {})
    assert refused.status_code == 409
    assert "manage.py recover --lane north shows the plan" in refused.json()["detail"]
    data = operator.get(f"{ACTIVITIES}2/desk/data/").json()
    assert "manage.py recover --lane north" in [alert["command"] for alert in data["alerts"]]
    errors = {error["field"]: error["message"] for error in ask("GET", "/readyz").json()["errors"]}
    assert "manage.py recover --lane north repairs it" in errors["decide.north.fence"]
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200


def test_a_new_activity_gets_the_lane_that_was_chosen(
    both: None, operator: Client, redis_client: "redis.Redis"
) -> None:
    values = {"id": "7", "name": "Ice", "items": "1001 5", "lane": "north"}
    confirm(operator, f"{ACTIVITIES}add/", values)
    assert Activity.objects.get(pk=7).lane == "north"
    assert set(read_lane(redis_client, NORTH).activities) == {2, 7}
    # And one that is copied gets that of its model.
    form = operator.get(f"{ACTIVITIES}add/?copy=7").context["form"]
    assert form.initial["lane"] == "north"


def test_one_lane_alone_is_not_spoken_of(ask: Ask, operator: Client) -> None:
    assert ask("POST", "/v1/activities", {"activity_id": 1, "stock": {"1001": 1}})
    assert ask("GET", "/v1/activities/1").json()["lane"] == "main"
    for page in ("/admin/", ACTIVITIES, f"{ACTIVITIES}1/desk/", f"{ACTIVITIES}add/"):
        assert " lane main" not in text(operator.get(page))
    assert "lane" not in operator.get(f"{ACTIVITIES}add/").context["form"].fields


def test_a_lane_whose_redis_is_away_hides_nothing_of_the_other(
    both: None, ask: Ask, operator: Client, settings: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "lane-north": {**settings.CACHES["lane-north"], "LOCATION": DEAD_REDIS},
    }
    shown = text(operator.get("/admin/"))
    assert "Lane north: Redis is away" in shown
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200
    assert ask("POST", "/v1/activities/2/pause", {}).status_code == 503
    assert operator.get(f"{ACTIVITIES}1/desk/data/").status_code == 200
    assert operator.get(f"{ACTIVITIES}2/desk/data/").status_code == 503
    errors = ask("GET", "/readyz").json()["errors"]
    assert "decide.north.Redis" in [error["field"] for error in errors]
    assert not any(error["field"].startswith("decide.main") for error in errors)


def test_a_sale_over_several_lanes_is_one_sale(
    two_lanes: None, ask: Ask, client: Client, operator: Any
) -> None:
    assert (
        ask("POST", "/v1/activities", {"activity_id": 1, "stock": {"1001": 11}}).status_code == 201
    )
    lone = ask("GET", "/v1/activities/1").json()
    assert (lone["part_of"], lone["sale"]) == (None, None)
    assert ask("POST", "/v1/activities/1/balance", {}).status_code == 409
    wrong = ask("POST", "/v1/activities/1/split", {"lanes": ["main", "east"]})
    assert wrong.status_code == 409
    assert "there is no lane east" in wrong.json()["detail"]
    done = ask("POST", "/v1/activities/1/split", {"lanes": ["main", "north"]})
    assert done.status_code == 200, done.content
    assert done.json()["new"] == {"lanes": "main, north", "parts": "1, 2"}
    for activity in (1, 2):
        shown = ask("GET", f"/v1/activities/{activity}").json()
        assert shown["part_of"] == 1
        sale = shown["sale"]
        sums = {name: sale[name] for name in ("head", "loaded", "left", "sold", "on_the_way")}
        assert sums == {"head": 1, "loaded": 11, "left": 11, "sold": 0, "on_the_way": 0}
        assert [(p["activity_id"], p["lane"], p["left"]) for p in sale["parts"]] == [
            (1, "main", 6),
            (2, "north", 5),
        ]
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200
    for activity in (1, 2):
        assert ask("GET", f"/v1/activities/{activity}").json()["live"]["paused"]
    assert ask("POST", "/v1/activities/1/set_stock", {"value": {"1001": 1}}).status_code == 409
    assert ask("POST", "/v1/activities/1/balance", {}).json() == {
        "moved": [],
        "waits": 0,
        "over": False,
    }
    confirm(operator, f"{ACTIVITIES}1/resume/")
    assert not ask("GET", "/v1/activities/2").json()["live"]["paused"]
    for activity in (1, 2, 3):
        seed(2, activity=activity, first=10 * activity)
    found = ask("GET", "/v1/orders?activity_id=1").json()["orders"]
    assert [order["activity_id"] for order in found] == [2, 2, 1, 1]
    assert len(ask("GET", "/v1/orders?activity_id=2").json()["orders"]) == 2
    shown = operator.get(f"{ORDERS}?activity=1").context["cl"].result_list
    assert [row.activity_id for row in shown] == [2, 2, 1, 1]
    for activity in (1, 2):
        whole = operator.get(f"{ACTIVITIES}{activity}/desk/data/").json()["sale"]
        assert (whole["left"], whole["loaded"], whole["on_the_way"]) == (11, 11, 0)
        assert [part["left"] for part in whole["parts"]] == [6, 5]
        assert [part["kind"] for part in whole["parts"]] == ["success", "success"]
        assert [part["here"] for part in whole["parts"]] == [activity == 1, activity == 2]
    # What is refused for a whole sale is not offered, and a page says where an act is done.
    for activity, leads in ((1, True), (2, False)):
        offered = operator.get(f"{ACTIVITIES}{activity}/desk/data/").json()["acts"]
        assert ("stock" not in offered) is leads
        asked = text(operator.get(f"{ACTIVITIES}{activity}/pause/"))
        assert ("The sale is split over 2 lanes" in asked) is leads
    page = text(operator.get(f"{ACTIVITIES}2/desk/"))
    assert "This is a part of the sale of activity 1" in page
    assert "This is a part of the sale" not in text(operator.get(f"{ACTIVITIES}1/desk/"))
    # One sale runs, so the menu's link leads to it.
    assert operator.get(f"{ACTIVITIES}desk/").url == f"{ACTIVITIES}1/desk/"
