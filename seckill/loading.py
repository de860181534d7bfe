"""Filling Redis: what an activity is loaded with, and its counts made right while it runs.

Owns the scripts that bring state, stock and buyers to Redis. Called by `seckill.control` alone, in
the transaction of an act: operators of one activity take turns. VersionMoved means that a script
came between: the journal has the act begun again.
"""

from collections.abc import Mapping
from typing import Any

import redis
from django.db.models import Max
from django.utils.translation import gettext as _

from seckill import buyers, sold
from seckill.act_script import ActScripts, Turn, moved, not_loaded
from seckill.errors import RedisAway, Refused
from seckill.journal import Done, milliseconds
from seckill.keys import Lane
from seckill.models import Activity, Item, Record, StockChange
from seckill.redis_client import run_script
from seckill.stats import LaneStatus, read_lane

# A limit that limits nothing: buyers are counted from the moment that it is set.
COUNT_ONLY = 10**15
# What load_state answers where somebody else has loaded the activity, or is about to.
LATE = -1


class Loader:
    """Fills one lane. All raise RedisAway; PostgreSQL's errors pass through."""

    def __init__(self, client: "redis.Redis", lane: Lane) -> None:
        self._redis = client
        self._lane = lane
        self._scripts = ActScripts(client, lane)

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        return read_lane(self._redis, self._lane)

    def load_rest(self, turn: Turn) -> Turn:
        """Before an item is set in an activity that Redis does not have: all else of it.

        Returns the turn at the version that this led to.
        """
        lane = self.status()
        if turn.activity_id in lane.activities:
            return turn
        refuse_if_lost(lane)
        if Item.objects.filter(activity_id=turn.activity_id).exists():
            return turn.at(self.sync(turn.step(turn.version))[0])
        activity = Activity.objects.get(pk=turn.activity_id)
        return turn.at(self.load_state(activity, lane.positions))

    def sync(self, turn: Turn) -> Done:
        """left = allocation - sold for each item of the database. Raises Refused."""
        activity_id = turn.activity_id
        items = dict(
            Item.objects.filter(activity_id=activity_id).values_list("item_id", "allocation")
        )
        if not items:
            raise Refused(
                _("activity %(id)s has no items in the database; set_stock puts some on sale")
                % {"id": activity_id}
            )
        activity = Activity.objects.get(pk=activity_id)
        lane = self.status()
        refuse_if_lost(lane)
        now = lane.activities.get(activity_id)
        version = now.version if now else 0
        if turn.version is not None and version != turn.version:
            raise moved(activity_id, turn.version, version)
        self._stage(lane.positions)
        units = sold.units_by_item(lane.positions, activity_id)
        counted: list[str | int] = []
        for item, allocation in items.items():
            status = now.items.get(item) if now else None
            sold_units = units.get((activity_id, item), 0)
            counted += [item, allocation, sold_units, status.sold if status else 0]
        if version == 0:
            version = self.load_state(activity, lane.positions)
        keys = self._lane.activity(activity_id)
        answer = self._scripts.run("sync", turn.at(version), [keys.stock, keys.loaded], counted)
        version, *rest = (int(number) for number in answer)
        old = {str(item): left for item, left in zip(items, rest[0::3], strict=True)}
        new = {str(item): left for item, left in zip(items, rest[1::3], strict=True)}
        return version, old, new

    def load_state(self, activity: Activity, positions: Mapping[str, int]) -> int:
        """State and buyers of an activity that is not registered: nothing decides it now.

        Returns its version. Raises VersionMoved where somebody else has loaded it meanwhile.
        """
        keys = self._lane.activity(activity.pk)
        self._stage(positions)
        state = [
            part
            for name, value in {**state_of(activity), **held_state(activity)}.items()
            if value is not None
            for part in (name, value)
        ]
        last = StockChange.objects.filter(activity_id=activity.pk).aggregate(Max("version"))
        totals = sold.totals(activity.pk, positions)
        token = buyers.NONE
        if activity.user_limit is not None:
            token = self._stage_buyers(activity.pk, positions)
        names = [keys.state, keys.stats, keys.buyers, self._lane.stats, self._lane.activities]
        version = int(
            run_script(
                self._redis,
                "load_state",
                [*names, keys.new_buyers],
                [*totals, last["version__max"] or 0, activity.pk, token, *state],
            )
        )
        if version == LATE:
            raise moved(activity.pk, 0, self._scripts.look(activity.pk).version)
        return version

    def _stage(self, positions: Mapping[str, int]) -> None:
        try:
            found = sold.waiting(self._redis, self._lane, positions)
        except redis.RedisError as away:
            raise RedisAway(away) from None
        sold.stage(found)

    def write_state(self, turn: Turn, new: Mapping[str, int | None]) -> int:
        """Fields of the state into Redis. A first limit counts the buyers before it holds: the
        script that sets it takes them in.

        Returns the version after it. Raises Refused.
        """
        before = self.status().activities.get(turn.activity_id)
        if before is None:
            raise not_loaded(turn.activity_id)
        limit = new.get("user_limit")
        counting = before.user_limit not in (None, COUNT_ONLY)
        if "user_limit" not in new or limit is None or counting:
            forget = "user_limit" in new and limit is None
            return self._configure(turn, new, forget_buyers=forget)[0]
        version, positions = self._configure(
            turn.step(turn.version), {"user_limit": COUNT_ONLY}, forget_buyers=True
        )
        self._stage(positions)
        token = self._stage_buyers(turn.activity_id, positions)
        return self._configure(turn.at(version), new, token=token)[0]

    def _configure(
        self,
        turn: Turn,
        fields: Mapping[str, int | None],
        *,
        forget_buyers: bool = False,
        token: str = buyers.NONE,
    ) -> tuple[int, dict[str, int]]:
        keys = self._lane.activity(turn.activity_id)
        pairs = [
            part
            for name, value in fields.items()
            for part in (name, "" if value is None else str(value))
        ]
        answer = self._scripts.run(
            "configure",
            turn,
            [keys.buyers, self._lane.positions, keys.new_buyers],
            ["1" if forget_buyers else "0", token, *pairs],
        )
        names, offsets = answer[1::2], answer[2::2]
        positions = {n.decode(): int(o) for n, o in zip(names, offsets, strict=True)}
        return int(answer[0]), positions

    def _stage_buyers(self, activity_id: int, positions: Mapping[str, int]) -> str:
        """Who bought before the positions, to be taken in; the token. `_stage` comes first."""
        key = self._lane.activity(activity_id).new_buyers
        return buyers.stage(self._redis, key, sold.units_by_user(activity_id, positions))


def state_of(activity: Activity) -> dict[str, int | None]:
    """The fields of an activity's state in Redis that its row decides; None: not set."""
    return {
        "opens_at": milliseconds(activity.opens_at),
        "closes_at": milliseconds(activity.closes_at),
        "user_limit": activity.user_limit,
        "timeout": activity.timeout_ms,
    }


def held_state(activity: Activity) -> dict[str, Any]:
    """What operators have done to an activity that outlives Redis: finished, paused."""
    return {
        "over": "finished" if activity.finished else None,
        "paused": 1 if activity.paused else None,
    }


def refuse_if_lost(lane: LaneStatus) -> None:
    """Raises Refused where Redis holds nothing and PostgreSQL has orders: Redis was lost.

    To load a sale then would decide requests again that were decided before the loss.
    """
    if not lane.loaded and not lane.positions and Record.objects.exists():
        raise Refused(
            _(
                "Redis is empty, and there are orders: it was emptied, or is another one than "
                "before. Rebuild it: manage.py recover shows the plan, --apply carries it out"
            )
        )
