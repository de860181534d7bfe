"""A season is taken away as a whole: in a file, and never sold again."""

import gzip
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.db import connection

from seckill.audit.audit import audit
from seckill.config.sections import Server
from seckill.errors import NoSuchActivity, Refused
from seckill.lane import board
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from seckill.models import Activity, DeadRecord, Item, LatePayment, Record, Settlement, StockChange
from seckill.postgres.seasons import FIRST
from seckill.recovery.plan import make_plan, postgres_state
from seckill.report.data import Place, gather
from seckill.seasons.archive import Archive, Archived
from seckill.seasons.plan import Plan
from tests.helpers.sale import keep_dead, record
from tests.helpers.seasons import Seasons, ask, begun, partitioned
from tests.helpers.settling import cancelled, paid, settle

LANE = Lane()
# Sessions of the owner, which hold a lock.
pytestmark = pytest.mark.direct


@pytest.fixture
def seasons(redis_client: "redis.Redis", stack: Any, orders: str, tmp_path: Path) -> Seasons:
    seasons = Seasons(redis_client, stack.redis_url, orders, tmp_path / "files")
    seasons.control.set_stock(1, {1001: 1000})
    seasons.sell(seasons.old, 1, range(1, 41))
    seasons.control.finish(1)
    seasons.control.set_stock(2, {1001: 1000})
    partitioned(orders, [seasons.old])
    begun(orders, seasons.new)
    seasons.sell(seasons.new, 2, range(1, 31))
    return seasons


def is_clean(client: "redis.Redis") -> list[str]:
    """The notes of an audit that found nothing."""
    report = audit(client, LANE)
    assert report.clean, report.findings
    return report.notes


def test_exactly_its_rows_go_and_all_stays_right(seasons: Seasons) -> None:
    columns = [column for (column,) in ask(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'seckill_record_first'::regclass"
        " AND attnum > 0 ORDER BY attnum"
    )]  # fmt: skip
    old = Record.objects.filter(source=seasons.old).order_by("id")
    rows = list(old.values_list("id", "user_id"))
    left = list(Record.objects.filter(source=seasons.new).values())
    is_clean(seasons.client)
    done = seasons.archive()
    assert isinstance(done, Archived)
    # The file has exactly these rows; the manifest says so.
    manifest = json.loads(done.manifest.read_text())
    (orders, settlements, late) = manifest["files"]
    assert (orders["rows"], settlements["rows"], late["rows"]) == (40, 0, 0)
    assert orders["columns"] == columns
    text = gzip.decompress((seasons.folder / orders["file"]).read_bytes()).decode()
    found = [dict(zip(columns, line.split("\t"), strict=True)) for line in text.splitlines()]
    assert [(int(row["id"]), int(row["user_id"])) for row in found] == rows
    assert manifest["items"] == [
        {"activity": 1, "item": 1001, "allocation": 1000, "sold": 40, "returned": 0}
    ]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE again (LIKE seckill_record_first)")
        with cursor.copy("COPY again FROM STDIN") as copy:
            copy.write(text)
        cursor.execute(
            "SELECT count(*) FROM (SELECT * FROM again EXCEPT SELECT * FROM seckill_record_first)"
            " AS other"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("DROP TABLE again")
    # What is left is as it was.
    assert list(Record.objects.values()) == left
    assert Item.objects.get(activity_id=1).sold == 40
    (note,) = is_clean(seasons.client)
    assert note == f"1 activities are archived: their orders are in {done.manifest}"
    lane = read_lane(seasons.client, LANE)
    assert (list(lane.activities), lane.archived) == ([2], 40)
    assert position_field(seasons.old, 0) in lane.positions
    assert list(lane.stored) == [position_field(seasons.new, 0)]
    assert list(board.ends(seasons.client, LANE)) == [position_field(seasons.new, 0)]
    assert not list(seasons.client.scan_iter(match="*}:1:*"))
    entry = StockChange.objects.get(act="archive")
    assert (entry.actor, entry.activity_id, entry.note) == ("olga", 1, "a note")
    assert entry.new == {"file": str(done.manifest), "season": FIRST, "orders": 40}
    # A recovery finds nothing to do, and nothing lost.
    assert not make_plan(seasons.client, LANE, seasons.new, [0]).needed
    assert postgres_state(seasons.client, LANE).older == ""
    # The next season goes on, and the sale of the old one does not begin again.
    seasons.sell(seasons.new, 2, range(31, 41), 30)
    seasons.sell(seasons.new, 1, range(1, 5), 40)
    assert Record.objects.count() == 40
    is_clean(seasons.client)
    # Once more does no harm.
    assert isinstance(seasons.archive(), Plan)
    is_clean(seasons.client)


def test_an_old_record_that_comes_again_is_a_dead_record(seasons: Seasons) -> None:
    order = Record.objects.filter(source=seasons.old).first()
    assert order is not None
    raw = {
        "user_id": order.user_id, "activity_id": 1, "item_id": 1001, "quantity": 1, "cost_ms": 1,
        "status": "success", "timestamp": 1795448539, "source": seasons.old, "partition": 0,
        "offset": order.offset, "version": 1,
    }  # fmt: skip
    seasons.archive()
    seasons.client.lpush(LANE.list, json.dumps(raw))
    # While it waits it is no order.
    is_clean(seasons.client)
    seasons.drain()
    (dead,) = DeadRecord.objects.all()
    assert "record_of_archived_season" in dead.reason
    assert Record.objects.count() == 30
    assert Item.objects.get(activity_id=1).sold == 40
    assert any("1 dead records" in note for note in is_clean(seasons.client))
    assert not make_plan(seasons.client, LANE, seasons.new, [0]).needed


def test_no_act_changes_what_is_archived(seasons: Seasons) -> None:
    seasons.archive()
    control = seasons.control
    for act in (
        lambda: control.sync_from_db(1),
        lambda: control.set_stock(1, {1001: 5}),
        lambda: control.add_stock(1, {1001: 5}),
        lambda: control.reopen(1),
        lambda: control.configure_fields(1, user_limit=1),
        lambda: control.split(1, ["main", "north"]),
    ):
        with pytest.raises(Refused, match="activity 1 is archived: its orders are in"):
            act()
    # A consumer that starts loads nothing of it.
    assert control.load(1, {}, replace=False) == []
    assert Activity.objects.get(pk=1).archived_at is not None
    is_clean(seasons.client)


def test_what_is_archived_says_where_its_orders_are(seasons: Seasons, server: Server) -> None:
    manifest = str(seasons.archive().manifest)
    with pytest.raises(NoSuchActivity, match="activity 1 is archived") as refused:
        gather(Place(1, seasons.client, server, LANE), with_audit=False)
    assert manifest in str(refused.value)
    said = StringIO()
    call_command("activity", "list", redis_url=server.redis_url, pg_dsn=seasons.dsn, stdout=said)
    assert f"activity 1 | archived, its orders are in {manifest}" in said.getvalue()


def test_holds_and_what_became_of_them_go_along(
    redis_client: "redis.Redis", stack: Any, orders: str, tmp_path: Path
) -> None:
    seasons = Seasons(redis_client, stack.redis_url, orders, tmp_path / "files")
    seasons.control.create(1, {1001: 1000}, hold_s=600)
    seasons.sell(seasons.old, 1, range(1, 5))
    seasons.control.finish(1)
    seasons.control.set_stock(2, {1001: 1000})
    partitioned(orders, [seasons.old])
    with pytest.raises(Refused, match="has 4 holds that nobody has settled"):
        seasons.archive()
    settle(
        redis_client,
        *(paid(n, user=n + 1, source=seasons.old) for n in range(2)),
        *(cancelled(n, user=n + 1, source=seasons.old) for n in range(2, 4)),
    )
    with pytest.raises(Refused, match="records of it wait in lane main"):
        seasons.archive()
    seasons.drain()
    assert Settlement.objects.count() == 4
    is_clean(redis_client)
    done = seasons.archive()
    assert isinstance(done, Archived)
    assert [file.rows for file in done.files] == [4, 4, 0]
    assert not [m for m in (Record, Settlement, LatePayment) if m.objects.exists()]
    is_clean(redis_client)
    assert not make_plan(redis_client, LANE, None, []).needed


class TestRefused:
    def refused(self, seasons: Seasons, why: str) -> None:
        with pytest.raises(Refused, match=why):
            seasons.archive()
        assert Record.objects.filter(source=seasons.old).count() == 40
        assert not seasons.folder.exists()

    def test_a_lane_that_still_reads_it(self, seasons: Seasons) -> None:
        seasons.reading = seasons.old
        self.refused(seasons, "lane main reads a topic of it")

    def test_an_activity_that_is_not_finished(self, seasons: Seasons) -> None:
        seasons.control.reopen(1)
        self.refused(seasons, "activity 1 is not finished")

    def test_orders_of_another_topic(self, seasons: Seasons) -> None:
        seasons.control.reopen(1)
        seasons.sell(seasons.new, 1, range(900, 901), 30)
        seasons.control.finish(1)
        self.refused(seasons, f"orders of another topic too .{seasons.new}")

    def test_the_only_activity(self, seasons: Seasons) -> None:
        seasons.client.srem(LANE.activities, "2")
        self.refused(seasons, "has no other activity loaded")

    def test_events_that_nobody_has_heard_of(self, seasons: Seasons) -> None:
        ask_nothing = "INSERT INTO seckill_eventcursor (topic, record_id, settlement_id,"
        with connection.cursor() as cursor:
            cursor.execute(
                ask_nothing + " late_payment_id, holder) VALUES ('sale.events', 39, 0, 0, '')"
            )
            cursor.execute("UPDATE seckill_eventcursor SET record_id ="
                           " (SELECT max(id) - 1 FROM seckill_record_first)")  # fmt: skip
        self.refused(seasons, "topic sale.events has not all of its events")

    def test_an_open_dead_record(self, seasons: Seasons) -> None:
        keep_dead(record(7, offset=999, source=seasons.old))
        self.refused(seasons, "1 of its dead records need a person")

    def test_an_unknown_one_and_a_file_that_is_there(self, seasons: Seasons) -> None:
        with pytest.raises(Refused, match="no partition seckill_record_x"):
            seasons.archive("seckill_record_x")
        assert isinstance(seasons.archive(do=False), Plan)
        assert not seasons.folder.exists()
        seasons.folder.mkdir()
        (seasons.folder / f"{FIRST}.json").write_text("{}")
        with pytest.raises(Refused, match="is there already"):
            seasons.archive()


def test_cut_off_between_postgresql_and_redis(
    seasons: Seasons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sale goes on, and the same command does the rest."""
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "finish", lambda act, plan: None)
        seasons.archive()
    seasons.sell(seasons.new, 2, range(31, 41), 30)
    assert Record.objects.count() == 40
    assert isinstance(seasons.archive(), Plan)
    assert list(read_lane(seasons.client, LANE).activities) == [2]
    is_clean(seasons.client)
