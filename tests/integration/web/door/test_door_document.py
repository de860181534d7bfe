"""The door keeps what its document says: each answer is valid by it, and schemathesis agrees."""

import json
from typing import Any

import pytest
import redis
import schemathesis
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode

from seckill.formats.outcomes import Outcome
from seckill.lane.board import LOSER
from seckill.lane.clicks import Place
from seckill.lane.keys import Lane
from seckill.lane.phase import Phase
from seckill.web.door.answers import State, Winner, lost, shown_answer, waiting, won
from seckill.web.door.clicks import click_of
from seckill.web.door.docs.document import document
from seckill.web.door.showcase import Left, Showcase, shown_showcase
from seckill.web.door.tickets import Ticket, Tickets, short_source
from tests.conftest import wait_until
from tests.helpers.described import ask_everything
from tests.helpers.door import TICKET_SECRET, OpenDoor, RunningDoor, Told, token_of
from tests.helpers.node import Node
from tests.helpers.sale import put_on_sale

LANE = Lane()
SOON_S = 30.0
EXAMPLES = 6
DOCUMENT: Any = json.loads(document())
NO_INPUT = {"GET /healthz", "GET /readyz"}


def held(told: Told, path: str, method: str = "get") -> Told:
    """An answer, once it was found as the document describes it."""
    described = DOCUMENT["paths"][path][method]["responses"][str(told.status)]
    kind = told.headers["content-type"].partition(";")[0]
    assert kind in described["content"], (path, told.status)
    _check(described["content"][kind]["schema"], told.content)
    for name, header in described["headers"].items():
        assert name.lower() in told.headers or not header.get("required"), (path, told.status)
        if name == "Retry-After" and name.lower() in told.headers:
            assert int(told.headers["retry-after"]) >= 1
    return told


def _check(schema: Any, content: object) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(content)


def test_it_is_valid_openapi_and_its_examples_are_true(door: RunningDoor) -> None:
    served = door.ask("GET", "/openapi.json")
    assert (served.status, served.content) == (200, DOCUMENT)
    assert [fault.message for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    checked = 0
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                for content in answer["content"].values():
                    examples = [e["value"] for e in content.get("examples", {}).values()]
                    for example in [*examples, *filter(None, [content.get("example")])]:
                        _check(content["schema"], example)
                        checked += 1
    assert checked > 20


def test_the_page_of_it_needs_no_other_host(door: RunningDoor) -> None:
    for path in ("/docs", "/docs/files/swagger-ui-bundle.js", "/docs/files/swagger-ui.css"):
        told = door.ask("GET", path)
        assert told.status == 200, path
        policy = told.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "http" not in policy
        assert door.ask("GET", path, None, {"If-None-Match": told.headers["etag"]}).status == 304
    assert door.ask("GET", "/docs/files/../pages.py").status == 404
    assert door.ask("POST", "/docs").headers["allow"] == "GET, HEAD"


def test_every_answer_that_can_be_told_is_described() -> None:
    """All bytes of the board."""
    schema = DOCUMENT["paths"]["/v1/tickets/{ticket}"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]["schema"]
    digits = [ord(str(n)) for n in range(1, len(Outcome) - 1)]
    told = [lost(byte) for byte in (0, LOSER, *digits)]
    told += [
        won(Winner(Place("t", 0, 1), ord(byte), due), 5, stored=byte == "P")
        for byte in "0PXC"
        for due in (None, 7)
    ]
    told += [waiting(ahead, delayed=late) for ahead in (None, 0, 7) for late in (True, False)]
    assert {answer.state for answer in told} == set(State)
    for answer in told:
        _check(schema, shown_answer("A" * 83, answer))
        _check(schema, shown_answer("A" * 83, answer, "https://shop.example/pay"))


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_of_a_sale_is_described(phase: Phase) -> None:
    seen = Showcase(1, phase, None, 5, 7, 2, 0, {1001: Left.FEW})
    _check({"$ref": "#/components/schemas/Activity"}, shown_showcase(seen, "a", {}))


@pytest.mark.usefixtures("consumer")
def test_each_row_of_the_table_is_as_described(
    door: RunningDoor, open_door: OpenDoor, node: Node, redis_client: "redis.Redis"
) -> None:
    """docs/door.md, "A click" and "Its answer"."""
    put_on_sale(redis_client, {1001: 1, 1002: 5})
    click = "/v1/requests"

    def clicked(user: int = 1, **how: Any) -> Told:
        return held(door.click(user, **how), click, "post")

    assert clicked(1, wait=0).status == 202
    won = clicked(2, items={1001: 1}, wait=20)
    lost = clicked(3, items={1001: 1}, wait=20)
    states = {t.content["state"] for t in (won, lost)}
    assert states <= {"accepted", "refused"}
    wrong: list[tuple[int, dict[str, Any]]] = [
        (400, {"Idempotency-Key": "short"}),
        (401, {"Authorization": "Bearer x.y.z"}),
        (404, {"activity": 77}),
        (415, {"Content-Type": "text/plain"}),
        (422, {"items": {1001: 0}}),
    ]
    for status, how in wrong:
        assert clicked(9, **how).status == status, how
    headers = {
        "Authorization": f"Bearer {token_of(1)}",
        "Idempotency-Key": "a-long-body",
        "Content-Type": "application/json",
    }
    assert held(door.ask("POST", click, "x" * 5000, headers), click, "post").status == 413
    narrow = open_door("--user-rate", "0.01", "--user-burst", "1")
    assert [held(narrow.click(4), click, "post").status for _ in range(2)][1] == 429

    ticket = "/v1/tickets/{ticket}"
    assert held(door.answer(won.content["ticket"]), ticket).status == 200
    assert held(door.answer("A" * 83), ticket).status == 404
    old = Ticket(short_source("another"), 0, 1, 1, 1, click_of(1, "key-0001"))
    gone = Tickets({1: TICKET_SECRET.encode()}).sign(old)
    assert held(door.answer(gone), ticket).status == 410

    activity = "/v1/activities/{id}"
    assert held(door.ask("GET", "/v1/activities/1"), activity).status == 200
    assert held(door.ask("GET", "/v1/activities/9"), activity).status == 404
    mine = {"Authorization": f"Bearer {token_of(1)}"}
    assert held(door.ask("GET", "/v1/me/orders", None, mine), "/v1/me/orders").status == 200
    assert held(door.ask("GET", "/v1/me/orders"), "/v1/me/orders").status == 401
    for probe in ("/healthz", "/readyz"):
        assert held(door.ask("GET", probe), probe).status == 200
    # Nothing is left at all: the door refuses by itself, and knows the winner's click.
    put_on_sale(redis_client, {1002: 0})
    shed = wait_until(
        lambda: (told := clicked(8, wait=20)).content.get("at_door") and told, SOON_S, "it is shed"
    )
    assert shed.content["state"] == "refused"


def test_503_is_as_described(open_door: OpenDoor) -> None:
    blind = open_door(SECKILL_REDIS_URL="redis://127.0.0.1:1/0")
    for path, asked in [("/readyz", "/readyz"), ("/v1/activities/{id}", "/v1/activities/1")]:
        assert held(blind.ask("GET", asked), path).status == 503


@pytest.mark.usefixtures("consumer")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_the_door_keeps_what_its_document_says(
    open_door: OpenDoor, redis_client: "redis.Redis", mode: GenerationMode
) -> None:
    put_on_sale(redis_client, {1001: 1000})
    door = open_door("--user-rate", "0", "--address-rate", "0")
    described = schemathesis.openapi.from_url(f"http://127.0.0.1:{door.port}/openapi.json")
    asked = ask_everything(
        described,
        mode,
        {"Authorization": f"Bearer {token_of(7)}"},
        examples=EXAMPLES,
        no_input={*NO_INPUT, "GET /v1/me/orders"},
    )
    assert asked >= 4
