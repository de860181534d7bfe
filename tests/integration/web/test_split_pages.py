"""Pages and lists of a sale over two lanes: what is of the whole sale is shown as a whole."""

from django.test import Client

from tests.integration.web.pages import ACTIVITIES, JOURNAL, LATE, Ask, late, rows, text


def test_the_journal_of_the_head_is_that_of_all_parts(
    split: None, ask: Ask, operator: Client
) -> None:
    assert ask("POST", "/v1/activities", {"activity_id": 3}).status_code == 201
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200
    listed = operator.get(f"{JOURNAL}?activity=1&act=pause")
    assert [row.activity_id for row in rows(listed)] == [2, 1]
    shown = text(listed)
    assert "2 · part 1 of sale 1" in shown
    assert "1 · part 0 of sale 1" in shown
    assert [row.activity_id for row in rows(operator.get(f"{JOURNAL}?activity=2&act=pause"))] == [2]
    alone = text(operator.get(f"{JOURNAL}{rows(listed)[0].pk}/change/"))
    assert "2 · part 1 of sale 1" in alone
    assert "part 0" not in text(operator.get(f"{JOURNAL}?activity=3"))
    # The desk, the overview and the API say the same.
    last = operator.get(f"{ACTIVITIES}1/desk/data/").json()["done"][:2]
    assert [act["part"] for act in last] == ["part 1 of sale 1", "part 0 of sale 1"]
    last = operator.get(f"{ACTIVITIES}2/desk/data/").json()["done"]
    assert {act["activity"] for act in last} == {2}
    assert "activity 2 part 1 of sale 1" in text(operator.get("/admin/"))
    journal = ask("GET", "/v1/journal?activity_id=1&limit=2").json()["journal"]
    assert [(act["act"], act["activity_id"]) for act in journal] == [("pause", 2), ("pause", 1)]
    operator.cookies["django_language"] = "zh-hans"
    assert "2 · 活动 1 的第 1 部分" in text(operator.get(f"{JOURNAL}?activity=1"))


def test_late_payments_of_the_head_are_those_of_all_parts(
    split: None, ask: Ask, operator: Client
) -> None:
    for activity in (1, 2, 3):
        late(activity, f"pi_{activity}", activity)
    listed = operator.get(f"{LATE}?activity=1")
    assert [row.activity_id for row in rows(listed)] == [2, 1]
    assert "2 · part 1 of sale 1" in text(listed)
    paid = ask("GET", "/v1/late-payments?activity_id=1").json()["late_payments"]
    assert [payment["reference"] for payment in paid] == ["pi_2", "pi_1"]
    for activity, number in ((1, 2), (2, 1)):
        holds = operator.get(f"{ACTIVITIES}{activity}/desk/data/").json()["holds"]
        assert holds["late"] == number
        page = text(operator.get(f"{ACTIVITIES}{activity}/desk/"))
        assert ("whole sale, not settled yet" in page) is (activity == 1)
