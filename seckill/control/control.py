"""The acts of operators: stock, pause, finish and reopen, window and limits, load, sync.

Each act is one script that changes Redis. It waits for its turn and has a row in the journal
(`seckill.control.journal`). Only the script decides the result. With `expected_version` the script
refuses, before its first write, if the activity has another version: VersionMoved gives both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from django.utils.translation import gettext as _

from seckill.control import acts
from seckill.control.act_script import ActScripts, Turn
from seckill.control.acts import ActKind
from seckill.control.admission import admit
from seckill.control.checks import (
    FIELDS,
    check_activity,
    check_stock,
    check_window,
    checked_fields,
)
from seckill.control.journal import (
    PATIENCE_S,
    Act,
    Done,
    Journal,
    KeyReused,
    Once,
    SomebodyElse,
    UnderWay,
    postgres_errors,
    refuse_other_lane,
)
from seckill.control.loading import Loader
from seckill.control.part_rows import make_parts
from seckill.control.tables import allocate, shown_fields, split_in
from seckill.errors import (
    NoSuchActivity,
    OtherLane,
    PostgresAway,
    RedisAway,
    Refused,
    VersionMoved,
)
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.models import Activity, Item

__all__ = [
    "Act",
    "Control",
    "KeyReused",
    "NoSuchActivity",
    "Once",
    "OtherLane",
    "PostgresAway",
    "RedisAway",
    "Refused",
    "SomebodyElse",
    "UnderWay",
    "VersionMoved",
    "check_activity",
    "check_stock",
    "postgres_errors",
]


class Control:
    """Acts of one actor in one lane. Each raises Refused, RedisAway or PostgresAway.

    `note` is the reason, for the journal. `once` identifies one act: a repeat does nothing and
    returns the answer of the first (`Act.repeated`), even if that answer was lost. Use it for one
    act only. An act waits `patience_s` for other acts on its activity, then raises SomebodyElse.
    `expired_gives_back`: see `Loader`.
    """

    def __init__(
        self,
        client: "redis.Redis",
        actor: str,
        lane: Lane,
        *,
        note: str = "",
        once: Once | None = None,
        patience_s: float = PATIENCE_S,
        expired_gives_back: bool = False,
    ) -> None:
        self._redis = client
        self._lane = lane
        self._actor = actor[:150]
        self._scripts = ActScripts(client, self._lane)
        self._loader = Loader(client, self._lane, expired_gives_back=expired_gives_back)
        self._journal = Journal(
            self._scripts,
            self._lane,
            lambda activity_id: self._loader.status().activities.get(activity_id),
            lambda: admit(client, self._lane),
            self._actor,
            note,
            once,
            patience_s,
        )

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        return read_lane(self._redis, self._lane)

    def set_stock(
        self,
        activity_id: int,
        stock: Mapping[int, int],
        *,
        only_new: bool = False,
        expected_version: int | None = None,
    ) -> Act:
        """Set how many units of items are left from now on. Unknown activity and items are created.

        Statistics start again, and an activity that was over is open again. `only_new` leaves
        items alone that are already loaded when this act's turn comes.
        """
        check_activity(activity_id)
        check_stock(stock)

        def change(turn: Turn) -> Done:
            wanted = dict(stock)
            turn = self._loader.load_rest(turn)
            if only_new:
                now = self._loader.status().activities.get(activity_id)
                loaded = now.items if now else {}
                wanted = {item: units for item, units in wanted.items() if item not in loaded}
                if not wanted:
                    raise Refused(_("somebody else has just put it on sale"), "value")
            return self._put_on_sale(turn, wanted)

        new = {str(item): units for item, units in stock.items()}
        return self._journal.write(
            acts.SET_STOCK,
            activity_id,
            new,
            change,
            expected_version=expected_version,
            make=True,
        )

    def add_stock(
        self, activity_id: int, stock: Mapping[int, int], *, expected_version: int | None = None
    ) -> Act:
        """Put more units of items on sale; statistics continue. A finished activity stays finished.

        Not safe to repeat blindly: use `expected_version` or `once`.
        """
        return self._change_units(acts.ADD_STOCK, "+", activity_id, stock, expected_version)

    def take_stock(self, activity_id: int, stock: Mapping[int, int]) -> Act:
        """Take unsold units from sale: all of them, or TooFew and none. For a move to another part
        of the same sale alone; not safe to repeat without `once`.
        """
        return self._change_units(acts.TAKE_STOCK, "-", activity_id, stock, None)

    def _change_units(
        self,
        act: acts.ActKind,
        sign: str,
        activity_id: int,
        stock: Mapping[int, int],
        expected_version: int | None,
    ) -> Act:
        check_activity(activity_id)
        check_stock(stock, least=1)

        def change(turn: Turn) -> Done:
            keys = self._lane.activity(activity_id)
            answer = self._scripts.run(act.script, turn, [keys.stock, keys.loaded], _pairs(stock))
            version, *rest = (int(number) for number in answer)
            allocate(activity_id, dict(zip(stock, rest[2::3], strict=True)))
            return version, _by_item(stock, rest[0::3]), _by_item(stock, rest[1::3])

        new = {str(item): f"{sign}{units}" for item, units in stock.items()}
        return self._journal.write(act, activity_id, new, change, expected_version=expected_version)

    def split(
        self, activity_id: int, lanes: Sequence[str], *, expected_version: int | None = None
    ) -> Act:
        """Make the activity the first part of a sale over these lanes, the first of them its own.

        It makes the other parts and plans what is moved to them: `seckill.control.moves` moves it.
        Raises Refused once a request was decided, or if it is split already.
        """
        check_activity(activity_id)
        new = split_in(lanes)

        def change(turn: Turn) -> Done:
            if Activity.objects.filter(pk=activity_id, part_of__isnull=False).exists():
                raise Refused(_("activity %(id)s is split already") % {"id": activity_id})
            stats = self._lane.activity(activity_id).stats
            (version,) = self._scripts.run(acts.SPLIT.script, turn, [stats], [len(lanes)])
            numbers = make_parts(activity_id, lanes, self._actor)
            return int(version), {}, {**new, "parts": ", ".join(map(str, numbers))}

        return self._journal.write(
            acts.SPLIT, activity_id, new, change, expected_version=expected_version
        )

    def pause(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Pause the activity: every request is answered NOT_OPEN until `resume`."""
        return self._pause(acts.PAUSE, activity_id, expected_version)

    def resume(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Resume a paused activity."""
        return self._pause(acts.RESUME, activity_id, expected_version)

    def _pause(self, act: ActKind, activity_id: int, expected_version: int | None) -> Act:
        check_activity(activity_id)
        paused = act is acts.PAUSE

        def change(turn: Turn) -> Done:
            version, before = self._scripts.run(act.script, turn, [], [act.name])
            self._keep(activity_id, paused=paused)
            return int(version), {"paused": bool(before)}, {"paused": paused}

        return self._journal.write(
            act, activity_id, {"paused": paused}, change, expected_version=expected_version
        )

    def finish(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """End the activity even if units are left: every request from now on is OVER."""
        check_activity(activity_id)

        def change(turn: Turn) -> Done:
            version, before = self._scripts.run(acts.FINISH.script, turn, [])
            self._keep(activity_id, finished=True)
            return int(version), {"over": before.decode() or None}, {"over": "finished"}

        return self._journal.write(
            acts.FINISH,
            activity_id,
            {"over": "finished"},
            change,
            expected_version=expected_version,
        )

    def reopen(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Undo `finish`. If no unit is left, the activity becomes sold out instead."""
        check_activity(activity_id)

        def change(turn: Turn) -> Done:
            stock_key = self._lane.activity(activity_id).stock
            version, before, now = self._scripts.run(acts.REOPEN.script, turn, [stock_key])
            self._keep(activity_id, finished=False)
            return int(version), {"over": before.decode() or None}, {"over": now.decode() or None}

        return self._journal.write(
            acts.REOPEN, activity_id, {"over": None}, change, expected_version=expected_version
        )

    def configure_fields(
        self, activity_id: int, *, expected_version: int | None = None, **fields: Any
    ) -> Act:
        """Change the given fields of an activity (see FIELDS); None removes a value.

        If Redis has the activity, the same act changes its state there. If not, the version is 0,
        and the fields reach Redis when the activity is loaded. A change of the name alone changes
        neither Redis nor the version. Journal and Act give times in ms.
        """
        check_activity(activity_id)
        if not fields:
            raise Refused(_("no field is given; known: %(known)s") % {"known": ", ".join(FIELDS)})
        fields = checked_fields(fields)

        def change(turn: Turn) -> Done:
            row = Activity.objects.get(pk=activity_id)
            old = shown_fields({name: getattr(row, name) for name in fields})
            for name, value in fields.items():
                setattr(row, name, value)
            check_window(row.opens_at, row.closes_at)
            new = shown_fields(fields)
            version = turn.version or 0
            state = {name: value for name, value in new.items() if name != "name"}
            if version and state:
                version = self._loader.write_state(turn, state)
            Activity.objects.filter(pk=activity_id).update(**fields)
            return version, old, new

        return self._journal.write(
            acts.CONFIGURE,
            activity_id,
            shown_fields(fields),
            change,
            expected_version=expected_version,
        )

    def create(
        self, activity_id: int | None = None, stock: Mapping[int, int] | None = None, **fields: Any
    ) -> Act:
        """Create an activity: fields as in `configure_fields`. Without an id it gets the next free
        one.

        With `stock` it is on sale at once, by one act: all of it is done, or nothing. Without, its
        first `set_stock` puts it on sale.
        """
        if activity_id is not None:
            check_activity(activity_id)
        fields = checked_fields(fields)
        check_window(fields.get("opens_at"), fields.get("closes_at"))
        rules = shown_fields(fields)
        if not stock:
            return self._journal.make(activity_id, fields, rules, None)
        check_stock(stock)

        def change(turn: Turn) -> Done:
            if turn.activity_id in self._loader.status().activities:
                # In Redis alone: PostgreSQL came back older.
                raise Refused(_("activity %(id)s exists already") % {"id": turn.activity_id})
            version, _old, new = self._put_on_sale(self._loader.load_rest(turn), stock)
            return version, {}, {**rules, **new}

        wanted = {**rules, **{str(item): units for item, units in stock.items()}}
        return self._journal.make(activity_id, fields, wanted, change)

    def configure(self, activity: Activity, *, expected_version: int | None = None) -> Act | None:
        """Create an activity, or change it to match a whole row from a form. None: no change."""
        fields = {name: getattr(activity, name) for name in FIELDS}
        with postgres_errors():
            saved = Activity.objects.filter(pk=activity.pk).first()
        if saved is None:
            return self.create(activity.pk, **fields)
        changed = {n: v for n, v in fields.items() if v != getattr(saved, n)}
        if not changed:
            return None
        return self.configure_fields(activity.pk, expected_version=expected_version, **changed)

    def sync_from_db(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Bring Redis in line with the database: left = allocation - sold, never below 0."""
        check_activity(activity_id)
        return self._journal.write(
            acts.SYNC,
            activity_id,
            {},
            self._loader.sync,
            expected_version=expected_version,
        )

    def load(self, activity_id: int, stock: Mapping[int, int], *, replace: bool) -> list[str]:
        """Before a sale: load what is not loaded. Returns a line for people on each thing done.

        Items in Redis stay as they are, unless `replace`. Items that only the database has are
        loaded from there. All others are put on sale as new.
        """
        check_activity(activity_id)
        if replace and stock:
            act = self.set_stock(activity_id, stock)
            return [f"activity {activity_id}: stock replaced: {act.old} -> {act.new}"]
        lines = []
        now = self.status().activities.get(activity_id)
        loaded = set(now.items) if now else set()
        with postgres_errors():
            if stock or activity_id != DEFAULT_ACTIVITY:
                refuse_other_lane(activity_id, self._lane)
            elif Activity.objects.filter(pk=activity_id).exclude(lane=self._lane.name).exists():
                # Nobody asked for this number: it is the one that stands for none.
                return []
            if not stock and Activity.objects.filter(pk=activity_id, archived_at__isnull=False):
                # History: there is nothing to load.
                return []
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

    def _put_on_sale(self, turn: Turn, stock: Mapping[int, int]) -> Done:
        """Set the units of items in an activity that is loaded."""
        keys = self._lane.activity(turn.activity_id)
        answer = self._scripts.run(
            acts.SET_STOCK.script, turn, [keys.stock, keys.loaded, keys.stats], _pairs(stock)
        )
        version, *rest = (int(number) for number in answer)
        lefts, loadeds = rest[0::3], rest[2::3]
        allocate(turn.activity_id, dict(zip(stock, loadeds, strict=True)))
        self._keep(turn.activity_id, finished=False)
        return version, _by_item(stock, lefts), _by_item(stock, list(stock.values()))

    def _keep(self, activity_id: int, **kept: bool) -> None:
        """Write what must outlive a loss of Redis to the activity's row."""
        Activity.objects.filter(pk=activity_id).update(**kept)


def _pairs(stock: Mapping[int, int]) -> list[str | int]:
    return [part for item, units in stock.items() for part in (item, units)]


def _by_item(stock: Mapping[int, int], units: list[int]) -> dict[str, Any]:
    return {str(item): n for item, n in zip(stock, units, strict=True)}
