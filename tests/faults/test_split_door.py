"""The door and a sale over two lanes: a click on the sale goes to the part that serves its buyer,
whatever the door knew before, and no buyer is told what the orders do not say.
"""

import itertools
import random

from django.db.models import Sum

from seckill.formats.parts import part_of_user
from seckill.models import Record
from tests.conftest import wait_until
from tests.faults.clickers import ACCEPTED, REFUSED, Clickers, Heard, rows_of, wrong_answers
from tests.faults.lanes import Lanes
from tests.faults.lines import on_line, port_of
from tests.faults.proxy import Proxy
from tests.helpers.door import RunningDoor, Told, open_door, token_of

HEAD, PART, ITEM = 1, 2, 1001
UNITS = 120
# The limits of a door are those of one buyer and one machine.
CROWD = ("--user-rate", "1000", "--address-rate", "100000")


def users_of(part: int, number: int, first: int = 1) -> list[int]:
    """So many users whom a part serves."""
    mine = (user for user in itertools.count(first) if part_of_user(user, 2) == part)
    return list(itertools.islice(mine, number))


def opened(two: Lanes, *flags: str, **variables: str) -> RunningDoor:
    return open_door(two.manage, two.server, *CROWD, *flags, **two.variables, **variables)


def decided(door: RunningDoor, user: int, **how: str) -> Told:
    """What became of a click on the sale, or on `activity`."""
    activity = int(how.pop("activity", HEAD))
    told = door.click(user, activity=activity, wait=25, **how)

    def final() -> Told | None:
        nonlocal told
        if told.content.get("state") == "waiting":
            told = door.answer(told.content["ticket"], 25)
        return told if told.content.get("state") != "waiting" else None

    return wait_until(final, 120, "the click is decided")


def state(door: RunningDoor) -> str:
    return str(door.ask("GET", f"/v1/activities/{HEAD}").content["state"])


def crowd(
    doors: list[RunningDoor], users: list[int], rng: random.Random, twins: float = 0.2
) -> Heard:
    with Clickers([door.port for door in doors], users, rng, ITEM, twins) as clickers:
        pass
    assert not clickers.heard.gave_up
    return clickers.heard


def accepted(heard: Heard) -> list[tuple[int, str]]:
    return [
        (click.user, click.key)
        for click, told in heard.answers.items()
        if {answer.state for answer in told} == {ACCEPTED}
    ]


def test_a_door_sells_a_split_sale_to_every_buyer_once(two: Lanes, rng: random.Random) -> None:
    two.run("activity", "create", "1", "--stock", f"{ITEM}:{UNITS}", "--user-limit", "1")
    two.run("pause", "--activity-id", "1")
    for worker in ("run_consumer", "run_log_worker"):
        two.start(worker, "--lane", "all")
    # A door that knows the sale as one that is not split.
    door = opened(two)
    early = users_of(1, 1)[0]
    first = decided(door, early, key="a-key-of-before")
    assert first.content["outcome"] == "NOT_OPEN"
    two.run("activity", "split", "1", "--lanes", "main,north")
    two.run("resume", "--activity-id", "1")
    wait_until(lambda: state(door) == "open", 20, "the door sees it")
    again = decided(door, early, key="a-key-of-before")
    assert again.content["state"] == ACCEPTED
    # The first message of this click was in the wrong part: that is no answer.
    assert door.answer(first.content["ticket"]).content["state"] == "void"

    # Far more buyers of north than its part has.
    doors = [door, opened(two)]
    north = users_of(1, 110, first=early + 1)
    heard = crowd(doors, [*north, *users_of(0, 20)], rng)
    assert len(accepted(heard)) == UNITS // 2 - 1 + 20
    dry = users_of(1, 1, first=10_000)[0]
    refused = decided(door, dry)
    assert (refused.content["state"], refused.content["outcome"]) == (REFUSED, "SOLD_OUT")
    # Others may still buy, so the sale is open.
    assert state(door) == "open"
    version = door.ask("GET", f"/v1/activities/{HEAD}").content["version"]
    balance = two.start("activity", "balance", "1", "--watch", "0.3")
    assert decided_in_time(door, dry)
    assert door.ask("GET", f"/v1/activities/{HEAD}").content["version"] > version
    heard_of = [heard]
    firsts = itertools.count(20_000, 10_000)

    def is_balanced() -> bool:
        # No twins: units come between the two of them, and a no is true for the first one alone.
        heard_of.append(crowd(doors, users_of(1, 20, first=next(firsts)), rng, twins=0))
        # Not the page's state: both parts are sold out while the last unit is on its way.
        return balance.process.poll() is not None

    wait_until(is_balanced, 120, "balance ends")
    balance.wait_for("every part is over", 60)

    # Whoever clicks the same click again is told the same, whichever number is named.
    yes = [*accepted(heard)[:10], *accepted(heard)[-10:], (early, "a-key-of-before")]
    for (user, key), activity in itertools.product(yes, (HEAD, PART)):
        assert decided(door, user, key=key, activity=str(activity)).content["state"] == ACCEPTED
    report = two.prove()
    assert report["units_loaded"] == report["units_sold"] == UNITS
    rows = rows_of(ITEM)
    for each in heard_of:
        assert wrong_answers(each.answers, rows) == []
    sold = Record.objects.filter(activity_id__in=(HEAD, PART))
    assert sold.aggregate(units=Sum("quantity"))["units"] == UNITS
    assert sold.values("user_id").distinct().count() == sold.count() == UNITS
    [order] = orders_of(door, early)
    assert (order["activity_id"], order["part_id"]) == (HEAD, PART)
    assert [each.stop().code for each in doors] == [0, 0]


def decided_in_time(door: RunningDoor, user: int) -> bool:
    """Whether the buyer of a dry part gets a unit as soon as some are brought there."""
    return wait_until(lambda: decided(door, user).content["state"] == ACCEPTED, 60, "units came")


def orders_of(door: RunningDoor, user: int) -> list[dict[str, object]]:
    headers = {"Authorization": f"Bearer {token_of(user)}"}
    return list(door.ask("GET", "/v1/me/orders", None, headers).content["orders"])


def test_what_a_door_cannot_sell_is_never_told_as_sold_out(two: Lanes, pg_dsn: str) -> None:
    two.run("activity", "create", "1", "--stock", f"{ITEM}:{UNITS}", "--user-limit", "1")
    two.run("activity", "split", "1", "--lanes", "main,north")
    two.start("run_consumer", "--lane", "all")
    two.start("run_log_worker", "--lane", "all")
    of_main, of_north = users_of(0, 3), users_of(1, 3)
    # Without PostgreSQL a new door knows no parts.
    blind = opened(two, SECKILL_PG_DSN="postgresql://nobody@127.0.0.1:1/nothing")
    for user in (of_main[0], of_north[0]):
        told = blind.click(user)
        assert (told.status, told.content["taken"]) == (503, "no")
        assert "it is not known now which lane activity 1 is of" in told.content["detail"]
    # One that knows them needs it no more.
    with Proxy(port_of(pg_dsn)) as line:
        knows = opened(two, SECKILL_PG_DSN=on_line(pg_dsn, line))
        assert wait_until(lambda: knows.click(of_north[0]).status == 202, 20, "it knows the parts")
    assert decided(knows, of_north[0]).content["outcome"] == "LIMIT"
    assert decided(knows, of_main[0]).content["state"] == ACCEPTED
    assert knows.stop().code == 0
    for lane, here, there in (("main", of_main, of_north), ("north", of_north, of_main)):
        door = opened(two, "--lane", lane)
        assert state(door) == "open"
        assert decided(door, here[1]).content["state"] == ACCEPTED
        elsewhere = door.click(there[1])
        assert elsewhere.status == 404
        other = "north" if lane == "main" else "main"
        assert f"lane {other} serves this buyer of activity 1" in elsewhere.content["detail"]
        assert door.stop().code == 0
    assert blind.stop().code == 0
    two.prove()
