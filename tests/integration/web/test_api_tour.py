"""The tour of docs/api.md: each call of the page is made, and its answer is the one shown there.

`TOUR=write` puts the answers of today into the page.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.broker.topics import Topics
from seckill.config.layers import BASE_DIR
from seckill.formats.request import decode
from seckill.web.api.document import REFUSALS
from tests.conftest import wait_until
from tests.helpers.sale import body
from tests.helpers.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)

PAGE = BASE_DIR / "docs" / "api.md"
CALL = re.compile(r"```http\n((?:GET|POST|PATCH) .*?)```\n+```http\n(\d{3}.*?)```", re.DOTALL)
TOPIC = "seckill_requests"
# Headers of answers that the page shows.
SHOWN = ("ETag", "Location", "Idempotency-Replayed", "Allow")
# Members that differ from run to run: only their kind is compared.
CHANGES = ("decided_at", "at", "created_at", "cost_ms")


@pytest.fixture(scope="module")
def page() -> str:
    """The page's text."""
    return PAGE.read_text(encoding="utf-8")


def make(http: Client, key: str, text: str) -> str:
    """Make a call of the page; the answer in the page's form."""
    head, _, content = text.partition("\n\n")
    first, *headers = head.strip().splitlines()
    method, path = first.split(" ", 1)
    named = dict(line.split(": ", 1) for line in headers)
    answer = http.generic(
        method, path, content.strip(), "application/json", headers={"X-API-Key": key, **named}
    )
    lines = [f"{answer.status_code} {answer.reason_phrase}"]
    lines += [f"{name}: {answer[name]}" for name in SHOWN if name in answer]
    said = json.dumps(answer.json(), ensure_ascii=False)
    if len(said) > 110:
        said = json.dumps(answer.json(), ensure_ascii=False, indent=2)
    return "\n".join([*lines, "", said]) + "\n"


def fixed(answer: str) -> Any:
    """An answer without what differs from run to run."""
    head, _, said = answer.partition("\n\n")

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(one) for one in value]
        if isinstance(value, dict):
            return {
                name: type(part).__name__ if name in CHANGES else without(part)
                for name, part in value.items()
            }
        return value

    return head, without(json.loads(said))


def test_each_call_gets_the_answer_that_the_page_shows(
    page: str, http: Client, key: str, shop: Shop
) -> None:
    calls = list(CALL.finditer(page))
    assert len(calls) > 8
    new, end = "", 0
    for call in calls:
        asked, shown = call.groups()
        if "/v1/results" in asked:
            shop.buy(body(564, request_id="order-7"), body(565, {1001: 1}), body(564))
            shop.store()
        answer = make(http, key, asked)
        new, end = new + page[end : call.start(2)] + answer, call.end(2)
        if os.environ.get("TOUR") != "write":
            assert fixed(answer) == fixed(shown), asked
    if os.environ.get("TOUR") == "write":
        PAGE.write_text(new + page[end:], encoding="utf-8")


def test_the_page_has_each_status_of_the_document(page: str) -> None:
    told = {int(status) for status in re.findall(r"^\| (\d{3}) \|", page, re.MULTILINE)}
    assert set(REFUSALS) | {405, 500} == told


def test_the_python_producer_of_the_page_sends_a_request(
    page: str, topics: Topics, environment: dict[str, str], stack: Endpoints
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    topics.ensure(TOPIC)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        place = json.loads(done.stdout)
        consumer = Consumer({"bootstrap.servers": stack.brokers, "group.id": "tour"})
        consumer.assign([TopicPartition(TOPIC, place["partition"], place["offset"])])
        message: Any = wait_until(lambda: consumer.poll(1.0), 30, "the request is read")
        consumer.close()
    finally:
        topics.delete(TOPIC)
    assert message.key() == b"564"
    request = decode(message.value())
    assert (request.user_id, request.request_id) == (564, "order-7")
