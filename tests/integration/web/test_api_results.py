"""POST /v1/results: what it knows, what it does not know, and never a no to who has an order."""

from typing import Any

import pytest
from django.db import connection

from seckill.dead_letters.records import Kind
from seckill.lane import board
from seckill.lane.fence import fence, new_token
from seckill.lane.keys import Lane
from seckill.models import Activity, Record
from tests.helpers import sale, settling
from tests.helpers.sale import SOURCE, body
from tests.helpers.shop import Shop
from tests.integration.web.pages import Ask

pytestmark = pytest.mark.django_db
PATH = "/v1/results"


@pytest.fixture
def ask_for(ask: Ask, shop: Shop) -> Any:
    """The answers about offsets of partition 0, and about request ids."""

    def call(*asked: int | str) -> list[Any]:
        answer = ask(
            "POST",
            PATH,
            {
                "messages": [{"partition": 0, "offset": n} for n in asked if isinstance(n, int)],
                "request_ids": [name for name in asked if isinstance(name, str)],
            },
        )
        assert answer.status_code == 200, answer.content
        said = answer.json()
        return [*said["messages"], *said["request_ids"]]

    return call


def told(result: Any) -> tuple[str, str | None]:
    """State and outcome."""
    return result["state"], result["outcome"]


def lines(result: Any) -> list[tuple[int, int, str]]:
    """Item, quantity and state of each line."""
    return sorted((o["item_id"], o["quantity"], o["state"]) for o in result["orders"])


def test_each_outcome_is_told(shop: Shop, ask_for: Any) -> None:
    shop.control.create(1, user_limit=5)
    shop.control.set_stock(1, {1001: 5, 1002: 2})
    bodies = [
        body(1, {1001: 2, 1002: 1}, request_id="r-1"),
        body(2, {1002: 2}),
        body(1, {1001: 4}),
        body(3, {9: 1}),
        body(4, activity_id=9),
        b"no request",
    ]
    shop.buy(*bodies)
    wanted = [
        ("accepted", "ACCEPTED"),
        ("refused", "SOLD_OUT"),
        ("refused", "LIMIT"),
        ("refused", "UNKNOWN_ITEM"),
        ("refused", "NO_SUCH_ACTIVITY"),
        ("refused", "INVALID"),
        ("waiting", None),
    ]
    for state in ("waiting", "stored"):
        found = ask_for(*range(7), "r-1", "r-2")
        assert [told(result) for result in found[:7]] == wanted
        assert lines(found[0]) == [(1001, 2, state), (1002, 1, state)]
        assert (told(found[7]), lines(found[7])) == (wanted[0], lines(found[0]))
        assert told(found[8]) == ("unknown", None)
        assert "never sent" in found[8]["why"]
        shop.store()
    assert ask_for(0)[0]["orders"][0]["order_id"] in Record.objects.values_list("pk", flat=True)


def test_an_order_of_which_half_is_stored_is_told_whole(shop: Shop, ask_for: Any) -> None:
    shop.control.set_stock(1, {1001: 5, 1002: 5})
    shop.buy(body(1, {1001: 1, 1002: 1}, request_id="r-1"))
    shop.worker.batch_size = 1
    shop.worker.run_once()
    for result in ask_for(0, "r-1"):
        assert sorted(line[2] for line in lines(result)) == ["stored", "waiting"]


def test_counted_losers_are_refused_without_a_reason(shop: Shop, ask_for: Any) -> None:
    shop.control.set_stock(1, {1001: 1})
    shop.buy(body(1))
    key = Lane().board(SOURCE, 0, 0)
    shop.client.setrange(key, 1, "L")
    (result,) = ask_for(1)
    assert told(result) == ("refused", None)
    assert result["why"]


def test_offsets_without_a_request_are_unknown(shop: Shop, ask_for: Any) -> None:
    shop.control.set_stock(1, {1001: 5})
    shop.buy(body(1))
    shop.next_offset = 5
    shop.client.hset(Lane().positions, f"{SOURCE}:0", 5)
    assert [told(result)[0] for result in ask_for(0, 3, 5)] == ["accepted", "unknown", "waiting"]


class TestNeverANoToWhoHasAnOrder:
    """Redis is lost, old or wrong; the row stands."""

    @pytest.fixture
    def stored(self, shop: Shop) -> None:
        """Offset 0 and 1 are sold and stored."""
        shop.control.set_stock(1, {1001: 2})
        shop.buy(body(1, request_id="r-1"), body(2))
        shop.store()

    @pytest.mark.parametrize("byte", [board.REFUSED_UNKNOWN, ord("2"), 0])
    def test_whatever_the_board_says(
        self, shop: Shop, ask_for: Any, stored: None, byte: int
    ) -> None:
        shop.client.setrange(Lane().board(SOURCE, 0, 0), 0, bytes([byte]))
        assert told(ask_for(0)[0]) == ("accepted", "ACCEPTED")

    def test_an_emptied_redis_knows_nothing_and_refuses_nobody(
        self, shop: Shop, ask_for: Any, stored: None
    ) -> None:
        shop.client.flushall()
        found = ask_for(0, 1, 2, "r-1", "r-2")
        assert [told(result)[0] for result in found] == [
            *("accepted", "accepted", "unknown", "accepted", "unknown")
        ]
        assert "lost this lane" in found[2]["why"]

    def test_an_older_redis_is_not_believed(self, shop: Shop, ask_for: Any, stored: None) -> None:
        shop.client.hset(Lane().positions, f"{SOURCE}:0", 1)
        found = ask_for(1, 2)
        assert [told(result)[0] for result in found] == ["accepted", "unknown"]
        assert "older than the sale" in found[1]["why"]

    def test_a_fenced_lane_is_not_believed(self, shop: Shop, ask_for: Any, stored: None) -> None:
        fence(shop.client, Lane(), "REWOUND", "a test", token=new_token())
        found = ask_for(0, 2)
        assert [told(result)[0] for result in found] == ["accepted", "unknown"]
        assert "REWOUND" in found[1]["why"]

    def test_after_a_loss_the_reason_is_gone(self, shop: Shop, ask_for: Any, stored: None) -> None:
        shop.buy(body(3))
        shop.client.setrange(Lane().board(SOURCE, 0, 0), 2, bytes([board.REFUSED_UNKNOWN]))
        (result,) = ask_for(2)
        assert told(result) == ("unknown", None)
        assert "before a loss" in result["why"]

    def test_dead_records_are_orders_and_overlaps_are_not(
        self, shop: Shop, ask_for: Any, stored: None
    ) -> None:
        sale.keep_dead(sale.record(7, offset=40, request_id="r-7"))
        sale.keep_dead(sale.record(8, offset=41, request_id="r-8"), kind=Kind.OVERLAP)
        shop.client.setrange(Lane().board(SOURCE, 0, 0), 41, "0")
        found = ask_for(40, 41, "r-7", "r-8")
        assert [told(result)[0] for result in found] == [
            *("accepted", "unknown", "accepted", "unknown")
        ]
        assert lines(found[0]) == lines(found[2]) == [(1001, 1, "parked")]

    def test_a_dead_record_is_found_behind_fifty_thousand_newer_ones(
        self, shop: Shop, ask_for: Any, stored: None
    ) -> None:
        sale.keep_dead(sale.record(7, offset=40, request_id="r-7"))
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO seckill_deadrecord (place, kind, reason, raw, at)"
                " SELECT 'many:' || n, 'refused', '', 'x', now() FROM generate_series(1, 50001) n"
            )
        (found,) = ask_for("r-7")
        assert lines(found) == [(1001, 1, "parked")]


def test_a_long_list_is_not_read_and_that_is_told(
    shop: Shop, ask_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.control.set_stock(1, {1001: 5})
    shop.buy(body(1, request_id="r-1"))
    monkeypatch.setattr("seckill.results.lines.LONGEST_LIST", 0)
    by_place, by_request = ask_for(0, "r-1")
    assert (told(by_place), by_place["orders"]) == (("accepted", "ACCEPTED"), [])
    assert told(by_request)[0] == "unknown"
    assert "too many" in by_place["why"]
    assert "too many" in by_request["why"]


def test_several_topics_need_a_name(shop: Shop, ask: Ask) -> None:
    shop.control.set_stock(1, {1001: 5})
    other = sale.new_source()
    shop.engine.decide([sale.batch([body(1)]), sale.batch([body(2)], source=other)])
    asked = {"messages": [{"partition": 0, "offset": 0}]}
    refused = ask("POST", PATH, asked)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "source")
    assert other in refused.json()["detail"]
    said = ask("POST", PATH, {**asked, "source": other}).json()
    assert (said["source"], said["messages"][0]["orders"][0]["user_id"]) == (other, 2)
    assert ask("POST", PATH, {"request_ids": ["r-1"]}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"messages": [{"partition": 0}]}, "messages.0.offset"),
        ({"messages": [{"partition": -1, "offset": 0}]}, "messages.0.partition"),
        ({"messages": [{"partition": 0, "offset": "1"}]}, "messages.0.offset"),
        ({"request_ids": [""]}, "request_ids.0"),
        ({"request_ids": ["x"] * 1001}, "request_ids"),
        ({"request_ids": ["x"] * 1000, "messages": [{"partition": 0, "offset": 0}]}, "messages"),
        ({"source": "x"}, "source"),
    ],
)
def test_what_cannot_be_is_refused(ask: Ask, shop: Shop, asked: Any, field: str) -> None:
    answer = ask("POST", PATH, asked)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_thousand_at_once(shop: Shop, ask: Ask) -> None:
    shop.control.set_stock(1, {1001: 600})
    shop.buy(*(body(n) for n in range(1, 1001)))
    places = [{"partition": 0, "offset": n} for n in range(1000)]
    said = ask("POST", PATH, {"messages": places}).json()["messages"]
    assert [told(result) for result in said] == (
        [("accepted", "ACCEPTED")] * 600 + [("refused", "OVER")] * 400
    )


def test_nothing_is_changed_and_a_lookers_key_is_enough(
    shop: Shop, http: Any, look_key: str
) -> None:
    shop.control.set_stock(1, {1001: 5})
    before = sale.everything(shop.client)
    asked = {"messages": [{"partition": 0, "offset": 0}]}
    for headers, code in (({"X-API-Key": look_key}, 200), ({}, 401)):
        answer = http.post(PATH, asked, content_type="application/json", headers=headers)
        assert answer.status_code == code
    assert sale.everything(shop.client) == before


def test_before_the_first_request_all_waits(shop: Shop, ask_for: Any) -> None:
    shop.control.set_stock(1, {1001: 5})
    assert told(ask_for(0)[0]) == ("waiting", None)


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_what_became_of_a_hold_is_told(shop: Shop, ask_for: Any, stored: int) -> None:
    """In Redis, with its order in PostgreSQL and its end in Redis, and all of it stored."""
    Activity.objects.create(id=1, hold_s=600)
    shop.control.set_stock(1, {1001: 9})
    shop.buy(*(body(user, request_id=f"r-{user}") for user in range(1, 5)))
    if stored:
        shop.store()
    settling.settle(shop.client, settling.paid(0, 1), settling.cancelled(1, 2))
    settling.make_due(shop.client, 2)
    settling.expire(shop.client)
    settling.settle(shop.client, settling.paid(2, 3), start=2)
    if stored == 2:
        shop.store()
    for answers in (ask_for(0, 1, 2, 3), ask_for("r-1", "r-2", "r-3", "r-4")):
        assert {told(answer) for answer in answers} == {("accepted", "ACCEPTED")}
        assert [[line["hold"] for line in answer["orders"]] for answer in answers] == [
            ["paid"], ["cancelled"], ["expired"], ["held"]
        ]  # fmt: skip
