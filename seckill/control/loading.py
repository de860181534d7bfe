"""Loads activities into Redis, and corrects their counts while they run.

Owns the scripts that bring state, stock and buyers to Redis. Only `seckill.control.control` calls
it, in the transaction of an act, so operators of one activity take turns. VersionMoved means that
another script ran in between: the journal then starts the act again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import redis
from django.db.models import Max
from django.utils.translation import gettext as _

from seckill.control import acts, staging
from seckill.control.act_script import ActScripts, Turn, moved, not_loaded
from seckill.control.admission import refuse_if_postgres_is_older
from seckill.control.journal import Done
from seckill.control.tables import milliseconds
from seckill.errors import Refused
from seckill.lane.client import run_script
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus, LaneStatus, read_lane
from seckill.models import Activity, Item, StockChange
from seckill.postgres import sold

# A limit too high to refuse anybody. Once it is set, buyers are counted.
COUNT_ONLY = 10**15
# How often units, or buyers, are counted while holds expire.
COUNTS = 10
# The answer of load_state if somebody else has loaded the activity or is about to.
LATE = -1


class Loader:
    """Fills one lane. All methods raise RedisAway; PostgreSQL's errors pass through.

    `expired_gives_back` is the settlers' setting. It counts for expired holds of which nobody knows
    whether they were forgiven.
    """

    def __init__(
        self, client: "redis.Redis", lane: Lane, *, expired_gives_back: bool = False
    ) -> None:
        self._redis = client
        self._gives_back = expired_gives_back
        self._lane = lane
        self._scripts = ActScripts(client, lane)

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        return read_lane(self._redis, self._lane)

    def load_rest(self, turn: Turn) -> Turn:
        """Load the rest of an activity that Redis does not have, before one of its items is set.

        Returns the turn at the version after loading.
        """
        lane = self.status()
        if turn.activity_id in lane.activities:
            return turn
        if Item.objects.filter(activity_id=turn.activity_id).exists():
            return turn.at(self.sync(turn.step(turn.version))[0])
        activity = Activity.objects.get(pk=turn.activity_id)
        return turn.at(self.load_state(activity, lane))

    def sync(self, turn: Turn) -> Done:
        """Set left = allocation - sold for each item in the database. Raises Refused."""
        activity_id = turn.activity_id
        items = dict(
            Item.objects.filter(activity_id=activity_id).values_list("item_id", "allocation")
        )
        if not items:
            raise Refused(
                _(
                    "activity %(id)s has no items in the database; manage.py set_stock puts some "
                    "on sale"
                )
                % {"id": activity_id}
            )
        activity = Activity.objects.get(pk=activity_id)
        lane, units = self._count_sold(turn)
        now = lane.activities.get(activity_id)
        version = now.version if now else 0
        counted: list[str | int] = []
        for item, allocation in items.items():
            status = now.items.get(item) if now else None
            sold_units = units.get((activity_id, item), 0)
            counted += [item, allocation, sold_units, status.sold if status else 0]
        if version == 0:
            version = self.load_state(activity, lane)
        keys = self._lane.activity(activity_id)
        answer = self._scripts.run(
            acts.SYNC.script, turn.at(version), [keys.stock, keys.loaded], counted
        )
        version, *rest = (int(number) for number in answer)
        old = {str(item): left for item, left in zip(items, rest[0::3], strict=True)}
        new = {str(item): left for item, left in zip(items, rest[1::3], strict=True)}
        return version, old, new

    def _count_sold(self, turn: Turn) -> tuple[LaneStatus, dict[tuple[int, int], int]]:
        """The lane at a moment, and the units that were sold then. Raises Refused.

        Holds that expire while this counts may be counted or not, so it counts again: units that
        came back twice would be sold twice.
        """
        for _attempt in range(COUNTS):
            lane = self.status()
            now = lane.activities.get(turn.activity_id)
            version = now.version if now else 0
            if turn.version is not None and version != turn.version:
                raise moved(turn.activity_id, turn.version, version)
            self._stage(lane)
            self._refuse_if_missing(turn.activity_id, now, lane.limits)
            units = sold.units_by_item(lane.limits, turn.activity_id)
            if now is None or not now.holds.held:
                break
            then = self.status().activities.get(turn.activity_id)
            if then is not None and then.holds.expired == now.holds.expired:
                break
        else:
            raise _holds_expire(turn.activity_id)
        return lane, units

    def load_state(self, activity: Activity, lane: LaneStatus) -> int:
        """Load state, buyers and clicks of an unregistered activity: no requests for it are decided
        yet.

        Returns its version. Raises VersionMoved if somebody else has loaded it in the meantime.
        """
        keys, positions = self._lane.activity(activity.pk), lane.limits
        self._stage(lane)
        state = [
            part
            for name, value in {**state_of(activity), **kept_state(activity)}.items()
            if value is not None
            for part in (name, value)
        ]
        last = StockChange.objects.filter(activity_id=activity.pk).aggregate(Max("version"))
        totals = sold.totals(activity.pk, positions)
        token = staging.NONE
        if activity.user_limit is not None:
            token = self._stage_buyers(activity.pk, positions)
        clicks = staging.stage_clicks(self._redis, keys.new_clicks, activity.pk, positions)
        names = [keys.state, keys.stats, keys.buyers, self._lane.stats, self._lane.activities]
        version = int(
            run_script(
                self._redis,
                "load_state",
                [*names, keys.new_buyers, self._lane.state, keys.clicks, keys.new_clicks],
                [*totals, last["version__max"] or 0, activity.pk, token, clicks, *state],
            )
        )
        if version == LATE:
            raise moved(activity.pk, 0, self._scripts.look(activity.pk).version)
        return version

    def _stage(self, lane: LaneStatus) -> None:
        """Called before every count of records. Raises Refused if PostgreSQL lacks some of them."""
        refuse_if_postgres_is_older(lane, self._lane)
        sold.stage(sold.waiting(self._redis, self._lane, lane.limits))

    def _refuse_if_missing(
        self, activity_id: int, now: ActivityStatus | None, positions: Mapping[str, int]
    ) -> None:
        """Raises Refused if units were taken for which no record exists.

        A sync would put these units on sale again, and they would be sold twice.
        """
        proved = sold.totals(activity_id, positions)[2]
        counted = now.total_records if now else 0
        if proved < counted:
            raise Refused(
                _(
                    "%(n)s accepted records of activity %(id)s are neither in the list nor in "
                    "PostgreSQL: their units would be sold again. manage.py recover --apply "
                    "--from-kafka stores them from the topic"
                )
                % {"n": counted - proved, "id": activity_id}
            )

    def write_state(self, turn: Turn, new: Mapping[str, int | None]) -> int:
        """Write fields of the state to Redis; returns the version after it. Raises Refused.

        Before a first limit applies, the buyers so far are counted. The script that sets the limit
        takes them in.
        """
        lane = self.status()
        before = lane.activities.get(turn.activity_id)
        if before is None:
            raise not_loaded(turn.activity_id)
        limit = new.get("user_limit")
        counting = before.user_limit not in (None, COUNT_ONLY)
        if "user_limit" not in new or limit is None or counting:
            forget = "user_limit" in new and limit is None
            return self._configure(turn, new, "forget" if forget else "keep")[0]
        version, token = self._count_buyers(turn)
        return self._configure(turn.at(version), new, "keep", token)[0]

    def _count_buyers(self, turn: Turn) -> tuple[int, str]:
        """Let Redis count buyers from now on, and stage those before: the version, and their token.

        A hold that expires meanwhile and is forgiven may be counted twice, so it counts again.
        Raises Refused.
        """
        version = turn.version
        for _attempt in range(COUNTS):
            lane = self.status()
            version, positions = self._configure(
                turn.step(version), {"user_limit": COUNT_ONLY}, "count"
            )
            # What was given back since the first look may be counted in Redis already: not twice.
            then = replace(
                self.status(), positions=positions, settle_positions=lane.settle_positions
            )
            self._stage(then)
            token = self._stage_buyers(turn.activity_id, then.limits)
            expired = [_expired(look, turn.activity_id) for look in (lane, self.status())]
            if not self._gives_back or expired[0] == expired[1]:
                return version, token
        raise _holds_expire(turn.activity_id)

    def _configure(
        self,
        turn: Turn,
        fields: Mapping[str, int | None],
        counted: str,
        token: str = staging.NONE,
    ) -> tuple[int, dict[str, int]]:
        """`counted` says what happens to the buyers: see the script."""
        keys = self._lane.activity(turn.activity_id)
        pairs = [
            part
            for name, value in fields.items()
            for part in (name, "" if value is None else str(value))
        ]
        answer = self._scripts.run(
            acts.CONFIGURE.script,
            turn,
            [keys.buyers, self._lane.positions, keys.new_buyers],
            [counted, token, *pairs],
        )
        names, offsets = answer[1][0::2], answer[1][1::2]
        positions = {n.decode(): int(o) for n, o in zip(names, offsets, strict=True)}
        return int(answer[0]), positions

    def _stage_buyers(self, activity_id: int, positions: Mapping[str, int]) -> str:
        """Stage the buyers before the positions; returns the token. Call `_stage` first."""
        key = self._lane.activity(activity_id).new_buyers
        units = sold.units_by_user(activity_id, positions, expired_gives_back=self._gives_back)
        return staging.stage(self._redis, key, units.items())


def _expired(lane: LaneStatus, activity_id: int) -> int:
    activity = lane.activities.get(activity_id)
    return activity.holds.expired if activity else 0


def _holds_expire(activity_id: int) -> Refused:
    return Refused(
        _("holds of activity %(id)s expire right now: try again in a moment") % {"id": activity_id}
    )


def state_of(activity: Activity) -> dict[str, int | str | None]:
    """The fields of an activity's state in Redis that come from its row; None means not set."""
    return {
        "opens_at": milliseconds(activity.opens_at),
        "closes_at": milliseconds(activity.closes_at),
        "user_limit": activity.user_limit,
        "timeout": activity.timeout_ms,
        "hold_s": activity.hold_s,
        "part": activity.part_text or None,
    }


def kept_state(activity: Activity) -> dict[str, Any]:
    """What operators have set that must outlive Redis: finished, paused."""
    return {
        "over": "finished" if activity.finished else None,
        "paused": 1 if activity.paused else None,
    }
