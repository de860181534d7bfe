"""The acts of operators: set stock, finish, window and limits, load, sync from the database.

Always: a journal row is begun in PostgreSQL, then one script changes Redis, then row and items say
what was done. Operators of one activity take turns (a row lock). Only the script decides what
holds; a journal row that stays `started` means that its end is not known: look at the version.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from seckill.errors import NoSuchActivity, PostgresAway, RedisAway, Refused
from seckill.keys import CONTROL_CHANNEL, Lane
from seckill.loading import Loader, not_loaded, state_of
from seckill.models import Activity, Item, StockChange
from seckill.redis_client import run_script
from seckill.stats import ActivityStatus, LaneStatus, read_lane
from seckill.wire import MAX_ID, MAX_UNITS


@dataclass(frozen=True)
class Act:
    """What was done, and the version after it."""

    act: str
    activity_id: int
    version: int
    old: dict[str, Any]
    new: dict[str, Any]
    journal_id: int


@contextmanager
def postgres_errors() -> Iterator[None]:
    """PostgreSQL's ways of not answering, as PostgresAway."""
    try:
        yield
    except (OperationalError, InterfaceError) as away:
        raise PostgresAway(str(away).strip().splitlines()[0]) from None


class Control:
    """Acts of one actor in one lane. Each raises Refused, RedisAway or PostgresAway."""

    def __init__(self, client: "redis.Redis", actor: str, lane: Lane | None = None) -> None:
        self._redis = client
        self._actor = actor[:150]
        self._lane = lane or Lane()
        self._loader = Loader(client, self._lane, self._actor)

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        return read_lane(self._redis, self._lane)

    def set_stock(
        self, activity_id: int, stock: Mapping[int, int], *, only_new: bool = False
    ) -> Act:
        """Put items at so many units from now on. What is unknown is made: activity, items.

        `only_new` leaves items alone that are loaded when it is this act's turn.
        """
        check_activity(activity_id)
        check_stock(stock)

        def change() -> tuple[int, dict[str, Any], dict[str, Any]]:
            nonlocal stock
            self._loader.load_rest(activity_id)
            if only_new:
                now = self._loader.status().activities.get(activity_id)
                loaded = now.items if now else {}
                stock = {item: units for item, units in stock.items() if item not in loaded}
                if not stock:
                    raise Refused(_("somebody else has put it on sale meanwhile"), "value")
            pairs = [part for item, units in stock.items() for part in (item, units)]
            keys = self._lane.activity(activity_id)
            answer = run_script(
                self._redis,
                "set_stock",
                [self._lane.activities, keys.state, keys.stock, keys.loaded, keys.stats],
                [activity_id, CONTROL_CHANNEL, self._actor, *pairs],
            )
            if answer[0] == -1:
                raise Refused(_("too many units were ever put on sale of one item"), "value")
            version, *rest = (int(number) for number in answer)
            lefts, loadeds = rest[0::3], rest[2::3]
            self._allocate(activity_id, dict(zip(stock, loadeds, strict=True)))
            old = {str(item): left for item, left in zip(stock, lefts, strict=True)}
            return version, old, {str(item): units for item, units in stock.items()}

        new = {str(item): units for item, units in stock.items()}
        return self._act("set_stock", activity_id, new, change, make=True)

    def finish(self, activity_id: int) -> Act:
        """End the activity, whatever is left."""
        check_activity(activity_id)

        def change() -> tuple[int, dict[str, Any], dict[str, Any]]:
            keys = self._lane.activity(activity_id)
            answer = run_script(
                self._redis,
                "finish",
                [self._lane.activities, keys.state],
                [activity_id, CONTROL_CHANNEL, self._actor],
            )
            if answer[0] == -1:
                raise not_loaded(activity_id)
            return int(answer[0]), {"over": answer[1].decode() or None}, {"over": "finished"}

        return self._act("finish_activity", activity_id, {"over": "finished"}, change)

    def configure(self, activity: Activity) -> Act | None:
        """Save the row, and bring its window, limit and timeout to Redis if it is loaded there."""
        before = self.status().activities.get(activity.pk)
        with postgres_errors():
            if before is None:
                activity.save()
                return None
        new = state_of(activity)
        old = {
            "opens_at": before.opens_at_ms,
            "closes_at": before.closes_at_ms,
            "user_limit": before.user_limit,
            "timeout": before.timeout_ms,
        }
        if old == new:
            with postgres_errors():
                activity.save()
            return None

        def change() -> tuple[int, dict[str, Any], dict[str, Any]]:
            activity.save()
            return self._loader.write_state(activity.pk, new), old, new

        return self._act("configure", activity.pk, new, change)

    def sync_from_db(self, activity_id: int) -> Act:
        """Make Redis what the database says: left = allocation - sold, never below 0."""
        check_activity(activity_id)

        def change() -> tuple[int, dict[str, Any], dict[str, Any]]:
            return self._loader.sync(activity_id)

        return self._act("sync_from_db", activity_id, {}, change)

    def load(self, activity_id: int, stock: Mapping[int, int], *, replace: bool) -> list[str]:
        """Before a sale: load what is not loaded. What was done, a line each, for people.

        What Redis has stays, unless `replace`; what only the database has comes from there; the
        rest is put on sale new.
        """
        check_activity(activity_id)
        if replace and stock:
            act = self.set_stock(activity_id, stock)
            return [f"activity {activity_id}: stock replaced: {act.old} -> {act.new}"]
        lines = []
        now = self.status().activities.get(activity_id)
        loaded = set(now.items) if now else set()
        with postgres_errors():
            known = set(
                Item.objects.filter(activity_id=activity_id, allocation__gt=0).values_list(
                    "item_id", flat=True
                )
            )
        kept = {item: now.items[item].left for item in stock if now and item in loaded}
        if kept:
            lines.append(f"activity {activity_id}: kept as loaded: {kept} (--reset replaces)")
        if known - loaded:
            act = self.sync_from_db(activity_id)
            lines.append(f"activity {activity_id}: loaded from the database: {act.new}")
        fresh = {item: n for item, n in stock.items() if item not in loaded | known}
        if fresh:
            try:
                act = self.set_stock(activity_id, fresh, only_new=True)
                done = {int(item): units for item, units in act.new.items()}
                lines.append(f"activity {activity_id}: put on sale: {done}")
            except Refused as refused:
                lines.append(f"activity {activity_id}: kept as loaded: {refused}")
        return lines

    def _act(
        self,
        act: str,
        activity_id: int,
        new: dict[str, Any],
        change: Callable[[], tuple[int, dict[str, Any], dict[str, Any]]],
        *,
        make: bool = False,
    ) -> Act:
        with postgres_errors():
            if make:
                Activity.objects.get_or_create(pk=activity_id)
            elif not Activity.objects.filter(pk=activity_id).exists():
                raise NoSuchActivity(
                    _("activity %(id)s is not known") % {"id": activity_id}, "activity_id"
                )
            entry = StockChange.objects.create(
                actor=self._actor, act=act, activity_id=activity_id, new=new
            )
            try:
                with transaction.atomic():
                    Activity.objects.select_for_update().get(pk=activity_id)
                    entry.version, entry.old, entry.new = change()
                    entry.state = StockChange.State.APPLIED
                    entry.save()
            except Refused as refused:
                self._note(entry, StockChange.State.FAILED, refused)
                raise
            except RedisAway as away:
                self._note(entry, StockChange.State.STARTED, away)
                raise
            except OperationalError:
                raise
            except DatabaseError as wrong:
                self._note(entry, StockChange.State.FAILED, wrong)
                raise
        assert entry.version is not None
        return Act(act, activity_id, entry.version, entry.old or {}, entry.new or {}, entry.pk)

    def _note(self, entry: StockChange, state: str, reason: Exception) -> None:
        entry.state, entry.detail = state, str(reason)[:500]
        entry.version, entry.old = None, None
        entry.save()

    def _allocate(self, activity_id: int, loaded: Mapping[int, int]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO seckill_item (activity_id, item_id, allocation) VALUES (%s, %s, %s)"
                " ON CONFLICT (activity_id, item_id)"
                " DO UPDATE SET allocation = EXCLUDED.allocation",
                [(activity_id, item, units) for item, units in sorted(loaded.items())],
            )


def check_activity(activity_id: int) -> None:
    """Raises Refused for a number that no activity can have."""
    if not 1 <= activity_id <= MAX_ID:
        raise Refused(_("an activity is a number from 1 to 2^63 - 1"), "activity_id")


def check_stock(stock: Mapping[int, int]) -> None:
    """Raises Refused for items or units that cannot be."""
    if not stock:
        raise Refused(_("no item is named"), "value")
    for item, units in stock.items():
        if not 1 <= item <= MAX_ID:
            raise Refused(_("an item is a number from 1 to 2^63 - 1"), "value")
        if not 0 <= units <= MAX_UNITS:
            raise Refused(_("units are 0 to 10^12, whole"), "value")


def is_open(status: ActivityStatus, now_ms: int) -> bool:
    """Whether the window of an activity is open at a time in ms."""
    opens, closes = status.opens_at_ms, status.closes_at_ms
    return (opens is None or now_ms >= opens) and (closes is None or now_ms < closes)
