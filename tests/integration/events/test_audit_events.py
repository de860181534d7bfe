"""The audit of events against their topic: clean beside repeats, red for each that is wrong."""

import json
from collections.abc import Callable

import pytest
from django.db import connection

from seckill.audit.checks import NEVER_DROPPED, NEVER_TWICE
from seckill.audit.events_kafka import EventsReport, audit_events
from seckill.lane.keys import Lane
from tests.helpers.messages import send
from tests.helpers.publishing import Published
from tests.helpers.settling import cancelled, paid


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def told(sale: Published) -> Published:
    """All kinds of events, published."""
    sale.buy(1, items={1001: 2, 1002: 1})
    sale.buy(2, 3, 4)
    sale.settle(paid(0, 1), cancelled(1, 2), paid(1, 2))
    sale.expire(2)
    sale.store()
    assert sale.publish() == 8
    return sale


def look(sale: Published) -> EventsReport:
    report = audit_events(sale.server, Lane())
    assert report is not None
    return report


def test_nobody_publishes(sale: Published) -> None:
    assert audit_events(sale.server, Lane()) is None


def test_each_row_has_its_event(told: Published) -> None:
    report = look(told)
    assert (report.findings, report.events, report.gone) == ([], 8, 0)
    # What is not published yet is no finding; nor are repeats.
    told.buy(5)
    told.store()
    assert look(told).findings == []
    sql("UPDATE seckill_eventcursor SET record_id = 0, settlement_id = 0, late_payment_id = 0")
    assert told.publish() == 9
    assert (look(told).findings, look(told).events) == ([], 17)


def test_rows_that_were_left_out_on_purpose(sale: Published) -> None:
    sale.buy(1, 2)
    sale.store()
    publisher = sale.publisher()
    sql("UPDATE seckill_eventcursor SET record_id = (SELECT max(id) FROM seckill_record)")
    sale.buy(3)
    sale.store()
    assert sale.publish(publisher) == 1
    assert look(sale).findings == []


def passed_over(sale: Published) -> None:
    """Three rows whose event was not sent."""
    sale.buy(5)
    sale.settle(paid(3, 4), cancelled(3, 4), paid(1, 2))
    sale.store()
    sql(
        "UPDATE seckill_eventcursor SET record_id = (SELECT max(id) FROM seckill_record),"
        " settlement_id = (SELECT max(id) FROM seckill_settlement),"
        " late_payment_id = (SELECT max(id) FROM seckill_latepayment)"
    )


def forged(sale: Published) -> None:
    """An event of an order, with more units."""
    event = sale.events()[0]
    event["data"]["items"] = {"1001": 99}
    send(sale.server.brokers, sale.topic, [json.dumps(event).encode()], 0)


WRONG: dict[str, tuple[Callable[[Published], object], str, list[str]]] = {
    "rows were passed over": (
        passed_over, NEVER_DROPPED, ["seckill_record", "seckill_settlement", "seckill_latepayment"]
    ),
    "an order is lost": (
        lambda _: sql("DELETE FROM seckill_record WHERE user_id = 1"), NEVER_TWICE,
        ["no row of seckill_record"],
    ),
    "a settlement is lost": (
        lambda _: sql("DELETE FROM seckill_settlement WHERE kind = 'paid'"), NEVER_TWICE,
        ["no row of seckill_settlement"],
    ),
    "a late payment is lost": (
        lambda _: sql("DELETE FROM seckill_latepayment"), NEVER_TWICE,
        ["no row of seckill_latepayment"],
    ),
    "an event with other units": (forged, NEVER_TWICE, ["no row of"]),
    "no event at all": (
        lambda sale: send(sale.server.brokers, sale.topic, [b"{"], 0), NEVER_TWICE,
        ["no event of ours"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(told: Published, name: str) -> None:
    make_wrong, invariant, words = WRONG[name]
    make_wrong(told)
    findings = look(told).findings
    assert {finding.invariant for finding in findings} == {invariant}
    said = " ".join(f"{finding.culprit}: {finding.explanation}" for finding in findings)
    assert all(word in said for word in words), said
