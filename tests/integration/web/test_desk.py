"""The desk: who sees it, what its JSON says in each state of a sale, and its acts."""

from typing import Any

import pytest
import redis
from django.test import Client
from django.test.utils import override_settings

from devstack.endpoints import Endpoints
from seckill.audit.verdict import write_last_audit
from seckill.broker.transactions import Open
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, StockChange
from seckill.telemetry.blocked import Blocked
from seckill.telemetry.heartbeats import Heart, Kind
from seckill.telemetry.history import append_sample, sample_of
from tests.conftest import wait_until
from tests.helpers import sale
from tests.integration.web.pages import (
    ACTIVITIES,
    DEAD_REDIS,
    confirm,
    logged_in,
    member,
    messages,
    sell,
    text,
)

pytestmark = pytest.mark.django_db
DESK = ACTIVITIES + "1/desk/"
DATA = DESK + "data/"
OVERVIEW_DATA = ACTIVITIES + "desk/data/"
ACTS = ("add", "stock", "pause", "resume", "window", "limit", "sync", "reopen", "finish")


def figures(browser: Client, query: str = "") -> dict[str, Any]:
    """The JSON."""
    answer = browser.get(DATA + query)
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "private, no-store"
    return dict(answer.json())


def alerts(browser: Client) -> dict[str, str]:
    """{title: command} of what needs a person."""
    return {alert["title"]: alert["command"] for alert in figures(browser)["alerts"]}


def test_figures_of_a_running_sale(observer: Client, control: Control, stack: Endpoints) -> None:
    control.set_stock(1, {1001: 5, 1002: 7})
    Item.objects.filter(item_id=1001).update(name="Boots")
    sell(stack, sale.body(1, {1001: 2}), sale.body(2, {1002: 1, 1001: 1}), b"no request")
    found = figures(observer)
    assert found["activity"]["state"] == "open"
    assert found["activity"]["version"] == 1
    assert [(i["id"], i["name"], i["left"], i["sold"]) for i in found["items"]] == [
        ("1001", "Boots", 2, 3),
        ("1002", "", 6, 1),
    ]
    assert found["outcomes"]["ACCEPTED"] == 2
    now = found["figures"]
    assert (now["left"], now["loaded"], now["accepted"], now["invalid"]) == (8, 12, 2, 1)
    assert (now["waiting"], now["stored"], now["dead"], now["lag"]) == (3, 0, 0, None)
    assert len(found["latency"]) == 3
    assert found["audit"] is None


def test_it_opens_with_history_and_goes_on_from_there(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane
) -> None:
    control.set_stock(1, {1001: 50})

    def take(lag: dict[int, int]) -> None:
        wait_until(
            lambda: append_sample(
                redis_client, lane, sample_of(read_lane(redis_client, Lane()), lag)
            ),
            5,
            "the next second",
        )

    take({0: 9, 1: 0})
    sell(stack, *(sale.body(user) for user in range(1, 11)))
    take({0: 2, 1: 1})
    found = figures(observer)
    first, last = found["points"][0], found["points"][-1]
    assert (first["left"], last["left"]) == ({"1001": 50}, {"1001": 40})
    assert first["rates"] == {}
    seconds = (last["t"] - first["t"]) / 1000
    assert last["rates"] == {"ACCEPTED": round(10 / seconds, 1)}
    assert len(last["ms"]) == 3
    assert found["lag"] == {"0": 2, "1": 1}
    assert found["figures"]["lag"] == 3
    again = figures(observer, f"?since={first['t']}")["points"]
    assert again[-1] == last
    assert first not in again
    assert figures(observer, f"?since={last['t']}")["points"] == []
    assert not any(point["live"] for point in found["points"])


def test_without_a_history_there_is_a_live_point(observer: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    (point,) = figures(observer)["points"]
    assert point["live"]
    assert point["left"] == {"1001": 5}


def test_a_long_history_is_thinned(
    observer: Client, control: Control, redis_client: "redis.Redis", lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    sample = sample_of(read_lane(redis_client, Lane()), {})
    append_sample(redis_client, lane, sample)
    ((raw, at),) = redis_client.zrange(lane.series, 0, -1, withscores=True)
    body = raw.partition(b" ")[2]
    history = {b"%d %s" % (at - s * 1000, body): at - s * 1000 for s in range(1, 3500)}
    redis_client.zadd(lane.series, history)
    points = figures(observer, "?window=3600")["points"]
    assert 250 < len(points) <= 301
    assert points[-1]["t"] == at
    assert len(figures(observer, "?window=60")["points"]) <= 61


def test_workers_heartbeat_and_progress_are_two_things(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    assert alerts(observer) == {
        "No consumer is alive": "manage.py run_consumer",
        "No log worker is alive": "manage.py run_log_worker",
    }
    heart = Heart(stack.redis_url, lane, Kind.CONSUMER)
    heart.beat(1, "partitions 0, 1")
    (worker,) = figures(observer)["workers"]
    assert worker["health"] == "alive"
    assert worker["beat_age_ms"] < 60_000
    assert "progress_age_ms" in worker
    assert "No consumer is alive" not in alerts(observer)
    heart.close()
    assert "No consumer is alive" in alerts(observer)


def test_holds_need_a_settler(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    control.configure_fields(1, hold_s=60)
    told = {alert["title"]: alert["level"] for alert in figures(observer)["alerts"]}
    assert told["No settler is alive"] == "warning"
    assert "no settler runs" in figures(observer)["verdict"]["text"]
    # From the first hold on its buyer cannot pay.
    sell(stack, sale.body(1))
    told = {alert["title"]: alert["level"] for alert in figures(observer)["alerts"]}
    assert told["No settler is alive"] == "danger"
    Heart(stack.redis_url, lane, Kind.SETTLER).beat(1)
    assert "No settler is alive" not in alerts(observer)
    assert "no settler runs" not in figures(observer)["verdict"]["text"]


@pytest.mark.parametrize("kind", Kind)
def test_a_worker_of_each_kind_is_shown(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane,
    kind: Kind,
) -> None:  # fmt: skip
    control.set_stock(1, {1001: 5})
    Heart(stack.redis_url, lane, kind).beat(1)
    (worker,) = figures(observer)["workers"]
    assert (worker["health"], bool(worker["kind"])) == ("alive", True)


def test_a_door_tells_what_came_of_its_clicks(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    counts = {"shed": 1000, "acknowledged": 20, "not_taken": 2, "unknown": 1, "waiting": 9}
    heart = Heart(stack.redis_url, lane, Kind.DOOR)
    heart.beat(1, **counts)
    (worker,) = figures(observer)["workers"]
    assert worker["detail"] == (
        "1,023 clicks: 20 taken, 1,000 certain losers, 3 answered 503; 9 wait"
    )
    heart = Heart(stack.redis_url, lane, Kind.DOOR)
    heart.beat(1, "Redis refuses", **counts)
    (worker,) = figures(observer)["workers"]
    assert worker["detail"] == "Redis refuses"


def test_what_is_lost_dead_and_broken_is_said(
    observer: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints, lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    control.configure_fields(1, timeout_ms=1)
    sell(stack, sale.body(1, at=sale.now_ms() - 5_000))
    redis_client.hset(lane.state, "parked", 1)
    write_last_audit(redis_client, False, 9, "never twice: message 3", "test", lane)
    found = alerts(observer)
    assert found["1 request expired while stock was left"] == ""
    assert found["1 order could not be stored"] == "manage.py dead_letters list"
    assert found["The last audit found a broken promise"] == "manage.py audit"
    shown = figures(observer)
    assert shown["figures"]["lost"] == 1
    assert shown["audit"]["light"] == "danger"
    assert shown["alerts"][-1]["level"] == "warning"
    write_last_audit(redis_client, True, 9, "", "test", lane)
    assert figures(observer)["audit"]["light"] == "success"


def test_what_kafka_hides_is_said(
    observer: Client, control: Control, redis_client: "redis.Redis", lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    blocked = (Blocked(0, 5, 1200, Open("'shop'", None)),)
    append_sample(
        redis_client, lane, sample_of(read_lane(redis_client, Lane()), {0: 1300}, blocked=blocked)
    )
    title = "Kafka hides 1,200 requests behind an open transaction"
    [found] = [alert for alert in figures(observer)["alerts"] if alert["title"] == title]
    text = "partition 0: 1,200 blocked by an open transaction of 'shop'"
    assert (found["level"], found["text"]) == ("warning", text)


def test_not_loaded_and_fenced(
    observer: Client, control: Control, redis_client: "redis.Redis", lane: Lane
) -> None:
    Activity.objects.create(pk=1)
    assert alerts(observer)["NOT_LOADED: Redis holds no sale"] == "manage.py recover"
    control.set_stock(1, {1001: 5})
    redis_client.hset(
        lane.state, mapping={"fenced": "REWOUND", "fenced_at": 1, "fenced_why": "partition 3"}
    )
    found = figures(observer)["alerts"][0]
    assert (found["level"], found["title"]) == ("danger", "Fenced: REWOUND")
    assert "partition 3" in found["text"]
    assert found["command"] == "manage.py recover"


def test_who_may_look(client: Client, observer: Client, operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    assert client.get(DATA).status_code == 401
    assert client.get(DATA)["Cache-Control"] == "private, no-store"
    assert b"1001" not in client.get(DATA).content
    assert client.get(DESK)["Location"].startswith("/admin/login/")
    for staff, code in ((True, 403), (False, 401)):
        nobody = logged_in(member(f"nina{code}", None, staff=staff))
        assert nobody.get(DATA).status_code == code
        assert nobody.get(DESK).status_code in (302, 403)
    page = observer.get(DESK).content.decode()
    assert "data-act" not in page
    for act in ACTS:
        assert f'href="{ACTIVITIES}1/{act}/"' not in page
        assert observer.get(f"{ACTIVITIES}1/{act}/").status_code == 403
    page = operator.get(DESK).content.decode()
    for act in ACTS:
        assert f'href="{ACTIVITIES}1/{act}/"' in page
    assert operator.get(ACTIVITIES + "9/desk/").status_code == 404


def test_the_menu_leads_to_the_sale_that_runs(
    observer: Client, control: Control, redis_client: "redis.Redis", lane: Lane, stack: Endpoints
) -> None:
    home = ACTIVITIES + "desk/"
    Activity.objects.create(pk=1)
    assert observer.get(home)["Location"] == DESK
    control.set_stock(2, {1: 1})
    control.set_stock(3, {1: 1})
    control.finish(2)
    assert observer.get(home)["Location"] == ACTIVITIES + "3/desk/"
    # Two could be it: the overview lets choose. Then one of them sells, and the other does not.
    control.set_stock(1, {1: 1})
    assert observer.get(home)["Location"] == "/admin/"
    append_sample(redis_client, lane, sample_of(read_lane(redis_client, Lane()), {0: 0}))
    sell(stack, sale.body(1, {1: 1}, activity_id=1))
    assert observer.get(home)["Location"] == DESK
    assert f'href="{home}"' in observer.get(DESK).content.decode()
    assert f'href="{DESK}"' in observer.get(ACTIVITIES + "3/desk/").content.decode()


def test_redis_away_is_said_and_passes(observer: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    away = {"default": {**_cache(), "LOCATION": DEAD_REDIS}}
    with override_settings(CACHES=away):
        answer = observer.get(DATA)
        assert (answer.status_code, answer.json()["service"]) == (503, "Redis")
        assert observer.get(DESK).status_code == 200
        assert observer.get(ACTIVITIES + "desk/").status_code == 302
    assert figures(observer)["figures"]["left"] == 5


def _cache() -> dict[str, Any]:
    from django.conf import settings

    return dict(settings.CACHES["default"])


def test_one_act_stands_out(observer: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    assert figures(observer)["primary"] == "add"
    control.pause(1)
    assert figures(observer)["primary"] == "resume"
    control.finish(1)
    assert figures(observer)["primary"] == "resume"
    control.resume(1)
    assert figures(observer)["primary"] == "reopen"


def test_each_act_is_asked_done_and_journalled(
    operator: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    control.set_stock(1, {1001: 5, 1002: 5})

    def status() -> Any:
        return read_lane(redis_client, Lane()).activities[1]

    for act, values, check in (
        ("add", {"item": "1001", "units": "3"}, lambda: status().items[1001].left == 8),
        ("stock", {"item": "1002", "units": "9"}, lambda: status().items[1002].left == 9),
        ("pause", {}, lambda: status().paused),
        ("resume", {}, lambda: not status().paused),
        ("limit", {"user_limit": "2"}, lambda: status().user_limit == 2),
        ("limit", {"user_limit": "", "x": "1"}, lambda: status().user_limit is None),
        (
            "window",
            {"opens_at_0": "2031-01-02", "opens_at_1": "10:00"},
            lambda: status().opens_at_ms == 1925114400000,
        ),
        ("sync", {}, lambda: status().items[1001].left == 8),
        ("finish", {}, lambda: status().over == "finished"),
        ("reopen", {}, lambda: status().over is None),
    ):
        before = StockChange.objects.count()
        page = f"{ACTIVITIES}1/{act}/"
        assert operator.get(page).status_code == 200
        operator.post(page, {**values, "confirmed": "yes"})
        assert StockChange.objects.count() == before, act
        done = confirm(operator, page, values)
        assert done.redirect_chain[-1][0] == DESK
        assert "version" in messages(done)
        assert check(), act
        change = StockChange.objects.latest("id")
        assert (change.actor, change.state) == ("olga", "applied")
        assert StockChange.objects.count() == before + 1


@pytest.mark.parametrize("act", ["pause", "finish", "sync"])
def test_an_operator_who_was_overtaken_is_asked_again(
    operator: Client, control: Control, redis_client: "redis.Redis", act: str
) -> None:
    control.set_stock(1, {1001: 5})
    page = f"{ACTIVITIES}1/{act}/"
    seen = dict(operator.get(page).context["hidden"])
    control.add_stock(1, {1001: 4})
    before = sale.everything(redis_client)
    again = operator.post(page, {**seen, "note": "late"})
    shown = text(again)
    assert "you looked at version 1 of this activity, and it is at 2 now" in shown
    assert "test: Add units, 1001: 5 → 9 (version 2)" in shown
    assert 'value="late"' in again.content.decode()
    assert sale.everything(redis_client) == before
    operator.post(page, dict(again.context["hidden"]))
    assert StockChange.objects.latest("id").actor == "olga"


def test_an_act_that_is_overtaken_in_the_act_itself(
    operator: Client, control: Control, redis_client: "redis.Redis", monkeypatch: Any
) -> None:
    control.set_stock(1, {1001: 5})
    page = ACTIVITIES + "1/finish/"
    seen = dict(operator.get(page).context["hidden"])
    finish = Control.finish

    def late(self: Control, *args: Any, **kwargs: Any) -> Any:
        control.add_stock(1, {1001: 4})
        return finish(self, *args, **kwargs)

    monkeypatch.setattr(Control, "finish", late)
    shown = text(operator.post(page, seen))
    assert "you looked at version 1 of this activity, and it is at 2 now" in shown
    assert "9 units stay unsold" in shown
    assert read_lane(redis_client, Lane()).activities[1].over is None


def test_forms_refuse_what_cannot_be(operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    for act, values in (
        ("add", {"item": "1001", "units": "0"}),
        ("add", {"item": "7", "units": "1"}),
        ("add", {"units": "1"}),
        ("limit", {"user_limit": "0"}),
        ("limit", {"user_limit": "x"}),
        (
            "window",
            {"opens_at_0": "2031-01-02", "opens_at_1": "10:00"}
            | {"closes_at_0": "2031-01-01", "closes_at_1": "10:00"},
        ),
        ("window", {"opens_at_0": "x", "opens_at_1": ""}),
    ):
        answer = operator.post(f"{ACTIVITIES}1/{act}/", values)
        assert answer.status_code == 200
        assert answer.context["form"].errors, (act, values)
    assert StockChange.objects.count() == 1


def test_acts_on_what_is_not_loaded(operator: Client, redis_client: "redis.Redis") -> None:
    Activity.objects.create(pk=1)
    for act in ("add", "pause", "resume", "finish", "reopen"):
        answer = operator.get(f"{ACTIVITIES}1/{act}/", follow=True)
        assert "not loaded in Redis" in messages(answer)
        assert answer.redirect_chain[-1][0] == DESK


def test_the_first_page_leads_to_the_desks(
    boss: Client, observer: Client, control: Control, stack: Endpoints
) -> None:
    assert "There is no activity yet" in text(boss.get("/admin/"))
    control.set_stock(1, {1001: 5})
    control.set_stock(2, {7: 1})
    control.finish(2)
    sell(stack, sale.body(1, {1001: 2}))
    page = observer.get("/admin/")
    assert f'href="{DESK}"' in page.content.decode()
    shown = "activity 1 open 3 units left Requests/s now: 0 Units sold, ever: 2 Requests, ever: 1"
    assert shown in text(page)
    assert "activity 2 finished" in text(page)
    assert "test activity 2 Finish over: – → finished" in text(page)
    assert "No consumer runs: what comes now waits in Kafka" in text(page)
    nobody = logged_in(member("nina", None))
    assert "units left" not in text(nobody.get("/admin/"))
    with override_settings(CACHES={"default": {**_cache(), "LOCATION": DEAD_REDIS}}):
        away = text(observer.get("/admin/"))
        assert "activity 1 – – units left" in away
        assert "Redis is away. Nothing is decided until then" in away
        assert observer.get(OVERVIEW_DATA).json() == {"service": "Redis"}


def test_the_first_page_asks_again(
    client: Client, observer: Client, control: Control, redis_client: "redis.Redis", lane: Lane
) -> None:
    control.set_stock(1, {1001: 5})
    control.set_stock(2, {7: 1})
    assert client.get(OVERVIEW_DATA).status_code == 401
    assert logged_in(member("nina", None)).get(OVERVIEW_DATA).status_code == 403
    append_sample(redis_client, lane, sample_of(read_lane(redis_client, Lane()), {0: 40}))
    found = observer.get(OVERVIEW_DATA).json()
    assert (found["verdict"]["state"], found["verdict"]["level"]) == ("stopped", "danger")
    assert "40 wait in Kafka, nothing is decided" in found["verdict"]["text"]
    assert figures(observer)["verdict"]["state"] == "stopped"
    assert [sale["number"] for sale in found["sales"]] == [2, 1]
    control.finish(2)
    assert [sale["number"] for sale in observer.get(OVERVIEW_DATA).json()["sales"]] == [1, 2]


def test_acts_that_were_not_done_never_look_done(observer: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    control.set_stock(2, {7: 1})
    given = {"actor": "olga", "act": "add_stock", "activity_id": 1, "new": {"1001": 1}}
    StockChange.objects.create(**given, state="failed", detail="the stock would be too large")
    StockChange.objects.create(**given, state="started")
    shown = text(observer.get("/admin/"))
    assert "olga activity 1 Add units refused the stock would be too large" in shown
    assert "olga activity 1 Add units not finished It is not known whether it was done" in shown
    assert "– → 1" not in shown
    begun, refused, done = figures(observer)["done"]
    assert (done["done"], done["state"], done["who"]) == (True, "", "test")
    assert done["result"] == "1001: 0 → 5"
    assert (refused["done"], refused["state"]) == (False, "refused")
    assert (begun["done"], begun["state"]) == (False, "not finished")


def test_an_idle_activity_shows_nothing_of_another(
    observer: Client, control: Control, stack: Endpoints
) -> None:
    control.set_stock(1, {1001: 5})
    control.set_stock(2, {7: 9})
    sell(stack, sale.body(1, {7: 2}, activity_id=2))
    Item.objects.filter(activity_id=2).update(sold=2)
    now = figures(observer)["figures"]
    assert (now["stored"], now["sold"], now["requests"], now["left"]) == (0, 0, 0, 5)
    other = observer.get(f"{ACTIVITIES}2/desk/data/").json()["figures"]
    assert (other["stored"], other["sold"], other["requests"], other["left"]) == (2, 2, 1, 7)
