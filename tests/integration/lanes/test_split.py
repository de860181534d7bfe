"""One sale over two lanes: its units are divided, each buyer is served by one lane, acts on the
head reach both, and units move without ever being on sale twice.
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.control import act_script, moves
from seckill.control.balance import Balancer
from seckill.control.control import Once
from seckill.control.moves import carry_out, open_moves, plan
from seckill.control.sale import SaleControl
from seckill.errors import DoneInPart, RedisAway, Refused
from seckill.formats.outcomes import MAX_ID
from seckill.formats.parts import part_of_user
from seckill.lane.client import connect
from seckill.models import Activity, Item, Move, StockChange
from seckill.postgres.moves import GIVE, key_of
from seckill.postgres.parts import read_routes
from seckill.recovery.rebuild import recover
from tests.helpers.sale import body, new_source
from tests.helpers.servers import own_valkey
from tests.helpers.shop import Shop
from tests.helpers.split_sale import HEAD, NORTH, PART, Split, users_of


@pytest.fixture
def sale(
    stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str, tmp_path: Path
) -> Iterator[Split]:
    with contextlib.ExitStack() as ends:
        url = ends.enter_context(own_valkey(tmp_path))
        north = ends.enter_context(connect(url))
        shops = (
            Shop(redis_client, stack.redis_url, pg_dsn),
            Shop(north, url, pg_dsn, NORTH, new_source()),
        )
        for shop in shops:
            ends.callback(shop.close)
        yield Split(*shops)


def test_the_units_are_divided_and_the_settings_repeated(sale: Split) -> None:
    sale.control.configure_fields(HEAD, user_limit=2, hold_s=60, name="Hot")
    sale.control.pause(HEAD)
    sale.split()
    assert sale.left() == (51, 50)
    # The remainder of the second item goes to the other lane.
    assert sale.left(1002) == (2, 3)
    for shop, activity in zip(sale.both(), (HEAD, PART), strict=True):
        now = shop.status(activity)
        assert (now.paused, now.user_limit, now.hold_s) == (True, 2, 60)
        row = Activity.objects.get(pk=activity)
        assert (row.lane, row.part_of, row.name) == (shop.lane.name, HEAD, "Hot")
    assert (sale.main.status(HEAD).part, sale.north.status(PART).part) == ("0/2", "1/2")
    allocated = Item.objects.filter(item_id=1001).values_list("activity_id", "allocation")
    assert dict(allocated) == {HEAD: 51, PART: 50}
    assert open_moves(HEAD) == []
    with connection.cursor() as cursor:
        routes = read_routes(cursor)
    for user in users_of(1, 3):
        assert routes.of(HEAD, user) == routes.of(PART, user) == routes.parts_of(HEAD)[1]
    sale.clean()


def test_each_buyer_is_served_by_one_lane_alone(sale: Split) -> None:
    sale.control.configure_fields(HEAD, user_limit=1)
    sale.split()
    users = [*range(1, 21), *range(10**9 - 5, 10**9 + 5), *range(MAX_ID - 9, MAX_ID + 1)]
    mine = [sum(part_of_user(user, 2) == part for user in users) for part in (0, 1)]
    assert min(mine) > 10
    # Everybody asks in both lanes, as a sender that knows no hash would.
    for shop, activity, number in zip(sale.both(), (HEAD, PART), mine, strict=True):
        wanted = [body(user, activity_id=activity) for user in users]
        assert shop.buy(*wanted) == {"ACCEPTED": number, "NO_SUCH_ACTIVITY": 40 - number}
    # Nobody gets a second one anywhere.
    for shop, activity, number in zip(sale.both(), (HEAD, PART), mine, strict=True):
        wanted = [body(user, activity_id=activity) for user in users]
        assert shop.buy(*wanted) == {"LIMIT": number, "NO_SUCH_ACTIVITY": 40 - number}
    sale.clean()


def test_what_has_sold_is_not_split(sale: Split) -> None:
    sale.control.pause(HEAD)
    assert sale.main.buy(body(1)) == {"NOT_OPEN": 1}
    sale.control.resume(HEAD)
    assert sale.main.buy(body(1)) == {"ACCEPTED": 1}
    with pytest.raises(Refused, match="activity 1 has answered 1 requests: a sale is split before"):
        sale.split()
    assert Activity.objects.count() == 1
    assert sale.main.status(HEAD).part == ""
    sale.main.store()
    sale.main.clean()


def test_whoever_pressed_too_early_does_not_hinder_a_split(sale: Split) -> None:
    sale.control.pause(HEAD)
    assert sale.main.buy(body(1)) == {"NOT_OPEN": 1}
    sale.split()
    sale.control.resume(HEAD)
    assert sale.buy(*range(1, 11)) == [{"ACCEPTED": 5}, {"ACCEPTED": 5}]
    sale.clean()


def test_wrong_lanes_are_refused_and_change_nothing(sale: Split) -> None:
    for lanes in (["main"], ["north", "north"], ["main", "north", "north"], ["north", "east"]):
        with pytest.raises(Refused, match="name two lanes or more, each once, and among them"):
            sale.control.split(HEAD, lanes)
    sale.away.add("north")
    with pytest.raises(RedisAway):
        sale.split()
    assert Activity.objects.filter(part_of__isnull=False).count() == 0
    sale.away.clear()
    sale.split()
    with pytest.raises(Refused, match="split over main, north, for good"):
        sale.control.split(HEAD, ["main", "east"])
    with pytest.raises(Refused, match="activity 2 is a part of activity 1"):
        SaleControl(sale.client, "olga", "north").split(PART, ["north", "main"])
    with pytest.raises(Refused, match="its units left cannot be set as a whole"):
        sale.control.set_stock(HEAD, {1001: 5})


def test_acts_on_the_head_reach_every_part_and_a_repeat_does_the_rest(sale: Split) -> None:
    sale.split()
    sale.control.pause(HEAD)
    assert [act.activity_id for act in sale.control.others] == [PART]
    assert sale.buy(1, 2) == [{"NOT_OPEN": 1}, {"NOT_OPEN": 1}]
    sale.away.add("north")
    with pytest.raises(DoneInPart, match=r"done in lane main; not in lane north \(Redis is away"):
        sale.control.resume(HEAD)
    sale.away.clear()
    assert sale.main.status(HEAD).paused is False
    assert sale.north.status(PART).paused is True
    sale.control.resume(HEAD)
    assert sale.buy(3, 4) == [{"ACCEPTED": 1}, {"ACCEPTED": 1}]
    sale.control.configure_fields(HEAD, user_limit=1)
    assert sale.buy(3, 4) == [{"LIMIT": 1}, {"LIMIT": 1}]
    sale.control.finish(HEAD)
    assert sale.buy(5, 6) == [{"OVER": 1}, {"OVER": 1}]
    sale.control.reopen(HEAD)
    assert sale.buy(5, 6) == [{"ACCEPTED": 1}, {"ACCEPTED": 1}]
    sale.control.sync_from_db(HEAD)
    sale.clean()


def test_an_act_with_a_key_is_done_once_in_each_part(sale: Split) -> None:
    sale.split()
    once = Once("k-1", "f")
    sale.away.add("north")
    with pytest.raises(DoneInPart):
        sale.operator(once).pause(HEAD)
    sale.away.clear()
    versions = sale.main.status(HEAD).version, sale.north.status(PART).version
    again = sale.operator(once)
    assert again.pause(HEAD).repeated
    assert [act.repeated for act in again.others] == [False]
    again = sale.operator(once)
    assert again.pause(HEAD).repeated
    assert [act.repeated for act in again.others] == [True]
    now = sale.main.status(HEAD).version, sale.north.status(PART).version
    assert now == (versions[0], versions[1] + 1)


def test_an_act_on_an_older_version_changes_no_part(sale: Split) -> None:
    sale.split()
    with pytest.raises(Refused, match="is based on version 1"):
        sale.control.pause(HEAD, expected_version=1)
    assert not sale.main.status(HEAD).paused
    assert not sale.north.status(PART).paused


def test_added_units_are_divided(sale: Split) -> None:
    sale.split()
    sale.control.add_stock(HEAD, {1001: 11})
    assert sale.left() == (57, 55)
    sale.away.add("north")
    sale.control.add_stock(HEAD, {1001: 10})
    # Its lane is away: the share waits where nobody can buy it twice.
    assert sale.sum_of() == 101 + 21
    sale.away.clear()
    Balancer(HEAD, sale.control_of, "olga").round()
    assert sale.left() == (62, 60)
    sale.clean()


class Crash(Exception):
    """The process is gone."""


POINTS = ("before the take", "after the take's script", "after the take", "after the give's script",
          "after the give")  # fmt: skip


def crash_at(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next move ends at this point, as a killed process would."""
    if point in ("after the take", "after the give"):
        # The act is done, and the move does not say so.
        before = moves.State.PLANNED if point == "after the take" else moves.State.TAKEN
        reached = moves._reached

        def cut(move: Move, state: str, after: str, **more: Any) -> None:
            if state == before:
                raise Crash
            reached(move, state, after, **more)

        monkeypatch.setattr(moves, "_reached", cut)
        return
    script = {"before the take": "", "after the take's script": "take_stock"}.get(
        point, "add_stock"
    )
    called = act_script.run_script

    def lose(client: Any, name: str, keys: list[str], args: list[Any]) -> Any:
        if not script and name == "take_stock":
            raise Crash
        answer = called(client, name, keys, args)
        if name == script:
            raise Crash
        return answer

    monkeypatch.setattr(act_script, "run_script", lose)


@pytest.mark.parametrize("point", POINTS)
def test_a_move_that_is_cut_off_anywhere_is_ended_once(
    sale: Split, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    sale.split()
    assert sale.buy(*users_of(1, 50)) == [{}, {"ACCEPTED": 50}]
    with monkeypatch.context() as patched:
        crash_at(point, patched)
        with pytest.raises(Crash):
            carry_out(plan(HEAD, HEAD, PART, {1001: 20}, "olga"), sale.control_of)
    # Whatever happened: no unit is on sale twice.
    assert sum(sale.left()) <= 51
    if "script" not in point:
        # Nobody knows yet what a lost answer of Redis was.
        assert sale.sum_of() == 101
    # Somebody else ends it, more than once.
    for _ in range(2):
        for move in open_moves(HEAD):
            carry_out(move, sale.control_of)
    assert sale.left() == (31, 20)
    assert sale.sum_of() == 101
    assert sale.on_the_way() == 0
    assert [row.state for row in StockChange.objects.filter(act="take_stock", actor="olga")] == [
        "applied"
    ] * 2
    assert sale.buy(*users_of(1, 60, 10_000)) == [{}, {"ACCEPTED": 20, "SOLD_OUT": 40}]
    sale.clean()


def test_two_who_end_the_same_move_move_it_once(sale: Split) -> None:
    sale.split()
    move = plan(HEAD, HEAD, PART, {1001: 20}, "olga")
    other = Move.objects.get(pk=move.pk)
    carry_out(move, sale.control_of)
    carry_out(other, sale.control_of)
    assert sale.left() == (31, 70)
    assert other.state == Move.State.GIVEN


def test_units_that_were_sold_meanwhile_are_not_taken(sale: Split) -> None:
    sale.split()
    move = plan(HEAD, HEAD, PART, {1001: 20, 1002: 2}, "olga")
    assert sale.buy(*users_of(0, 45)) == [{"ACCEPTED": 45}, {}]
    carry_out(move, sale.control_of)
    assert (move.state, move.units) == (Move.State.GIVEN, {"1001": 6, "1002": 2})
    assert sale.left() == (0, 56)
    gone = carry_out(plan(HEAD, HEAD, PART, {1001: 1}, "olga"), sale.control_of)
    assert gone.state == Move.State.DROPPED
    assert sale.sum_of() == 101
    sale.clean()


def test_balanced_rounds_sell_everything_to_whoever_comes(sale: Split) -> None:
    sale.split()
    clock = itertools.count(0, 10)
    balancer = Balancer(
        HEAD, sale.control_of, "olga", watching=True, now=lambda: float(next(clock))
    )
    assert balancer.round().moved == []
    sold = 0
    # Only buyers of one lane come.
    crowd = iter(users_of(1, 400))
    for _ in range(40):
        (_, north) = sale.buy(*itertools.islice(crowd, 5))
        sold += north.get("ACCEPTED", 0)
        done = balancer.round()
        assert done.waits == []
    assert sold == 101
    assert sale.left() == (0, 0)
    for user in users_of(0, 2) + users_of(1, 3, 50_000):
        sale.buy(user, item=1002)
        balancer.round()
    assert balancer.round().over
    sale.clean()


def test_a_part_whose_lane_is_rebuilt_stays_a_part(sale: Split) -> None:
    sale.split()
    assert sale.buy(*range(1, 21)) == [{"ACCEPTED": 10}, {"ACCEPTED": 10}]
    sale.clean()
    carry_out(plan(HEAD, HEAD, PART, {1001: 5}, "olga"), sale.control_of)
    sale.north.client.flushall()
    stuck = plan(HEAD, HEAD, PART, {1001: 5}, "olga")
    with pytest.raises(Refused):
        carry_out(stuck, sale.control_of)
    assert sale.on_the_way() == 5
    done = recover(sale.north.client, NORTH, sale.north.source, [0], "test", lambda _line: None)
    assert done.report.findings == []
    assert sale.north.status(PART).part == "1/2"
    carry_out(stuck, sale.control_of)
    assert sale.left() == (31, 50)
    assert sale.sum_of() == 101
    sale.clean()


def test_the_audit_names_units_that_are_on_their_way(sale: Split) -> None:
    sale.split()
    move = plan(HEAD, HEAD, PART, {1001: 7}, "olga")
    sale.away.add("north")
    with pytest.raises(RedisAway):
        carry_out(move, sale.control_of)
    for shop in sale.both():
        report = audit(shop.client, shop.lane)
        assert report.findings == []
        assert any("7 units of activity 1 are on their way" in note for note in report.notes)
    sale.away.clear()
    carry_out(move, sale.control_of)
    assert audit(sale.main.client, sale.main.lane).notes == []
    # A move that says more than its acts is a finding: PostgreSQL has lost an act.
    StockChange.objects.filter(idempotency_key=key_of(move.pk, GIVE)).delete()
    findings = audit(sale.main.client, sale.main.lane).findings
    assert [finding.culprit for finding in findings] == [f"move {move.pk}"]
