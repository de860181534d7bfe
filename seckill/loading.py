"""Filling Redis: what an activity is loaded with, and its counts made right while it runs.

Owns the scripts that bring state, stock and buyers to Redis. Called by `seckill.control` alone, in
the transaction of an act: operators of one activity take turns.
"""

from collections.abc import Mapping
from datetime import datetime

import redis
from django.utils.translation import gettext as _

from seckill import sold
from seckill.errors import NoSuchActivity, RedisAway, Refused
from seckill.keys import CONTROL_CHANNEL, Lane
from seckill.models import Activity, Item
from seckill.redis_client import run_script
from seckill.stats import LaneStatus, read_lane

# A limit that limits nothing: buyers are counted from the moment that it is set.
COUNT_ONLY = 10**15
# How often a count is repeated when somebody else steers at the same time.
ATTEMPTS = 5
# Buyers written in one command.
BUYERS_CHUNK = 5_000

# What an act did: (version after it, old values, new values).
Done = tuple[int, dict[str, int], dict[str, int]]


class Loader:
    """Fills one lane for one actor. All raise RedisAway; PostgreSQL's errors pass through."""

    def __init__(self, client: "redis.Redis", lane: Lane, actor: str) -> None:
        self._redis = client
        self._lane = lane
        self._actor = actor

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        return read_lane(self._redis, self._lane)

    def load_rest(self, activity_id: int) -> None:
        """Before an item is set in an activity that Redis does not have: all else of it."""
        lane = self.status()
        if activity_id in lane.activities:
            return
        if Item.objects.filter(activity_id=activity_id).exists():
            self.sync(activity_id)
        else:
            self.load_state(Activity.objects.get(pk=activity_id), lane.positions)

    def sync(self, activity_id: int) -> Done:
        """left = allocation - sold for each item of the database. Raises Refused."""
        items = dict(
            Item.objects.filter(activity_id=activity_id).values_list("item_id", "allocation")
        )
        if not items:
            raise Refused(
                _("activity %(id)s has no items in the database") % {"id": activity_id},
                "activity_id",
            )
        activity = Activity.objects.get(pk=activity_id)
        for _attempt in range(ATTEMPTS):
            lane = self.status()
            now = lane.activities.get(activity_id)
            self._stage(lane.positions)
            units = sold.units_by_item(lane.positions)
            counted: list[str | int | bytes] = []
            for item, allocation in items.items():
                status = now.items.get(item) if now else None
                sold_units = units.get((activity_id, item), 0)
                counted += [item, allocation, sold_units, status.sold if status else 0]
            version = now.version if now else 0
            if version == 0:
                version = self.load_state(activity, lane.positions)
            keys = self._lane.activity(activity_id)
            answer = run_script(
                self._redis,
                "sync",
                [self._lane.activities, keys.state, keys.stock, keys.loaded],
                [activity_id, CONTROL_CHANNEL, self._actor, version, *counted],
            )
            if int(answer[0]) == -2:
                continue
            version, *rest = (int(number) for number in answer)
            old = {str(item): left for item, left in zip(items, rest[0::3], strict=True)}
            new = {str(item): left for item, left in zip(items, rest[1::3], strict=True)}
            return version, old, new
        raise Refused(_("somebody else is steering this activity; try again"))

    def load_state(self, activity: Activity, positions: Mapping[str, int]) -> int:
        """State and buyers of an activity that is not registered: nothing decides it now.

        Returns its version.
        """
        keys = self._lane.activity(activity.pk)
        self._stage(positions)
        state = [
            part
            for name, value in state_of(activity).items()
            if value is not None
            for part in (name, value)
        ]
        version = run_script(
            self._redis,
            "load_state",
            [keys.state, keys.stats, keys.buyers, self._lane.stats],
            [*sold.totals(activity.pk, positions), *state],
        )
        if activity.user_limit is not None:
            self._add_buyers(activity.pk, positions)
        return int(version)

    def _stage(self, positions: Mapping[str, int]) -> None:
        try:
            found = sold.waiting(self._redis, self._lane, positions)
        except redis.RedisError as away:
            raise RedisAway(away) from None
        sold.stage(found)

    def write_state(self, activity_id: int, new: Mapping[str, int | None]) -> int:
        """Window, limit and timeout into Redis. A first limit counts the buyers before it holds."""
        before = self.status().activities.get(activity_id)
        limit = new["user_limit"]
        if before is None:
            raise not_loaded(activity_id)
        if limit is None or before.user_limit not in (None, COUNT_ONLY):
            return self._configure(activity_id, new, forget_buyers=limit is None)[0]
        _version, positions = self._configure(
            activity_id, {**new, "user_limit": COUNT_ONLY}, forget_buyers=True
        )
        self._stage(positions)
        self._add_buyers(activity_id, positions)
        return self._configure(activity_id, {"user_limit": limit}, forget_buyers=False)[0]

    def _configure(
        self, activity_id: int, fields: Mapping[str, int | None], *, forget_buyers: bool
    ) -> tuple[int, dict[str, int]]:
        keys = self._lane.activity(activity_id)
        pairs = [
            part
            for name, value in fields.items()
            for part in (name, "" if value is None else str(value))
        ]
        answer = run_script(
            self._redis,
            "configure",
            [self._lane.activities, keys.state, keys.buyers, self._lane.positions],
            [activity_id, CONTROL_CHANNEL, self._actor, "1" if forget_buyers else "0", *pairs],
        )
        if answer[0] == -1:
            raise not_loaded(activity_id)
        names, offsets = answer[1::2], answer[2::2]
        positions = {n.decode(): int(o) for n, o in zip(names, offsets, strict=True)}
        return int(answer[0]), positions

    def _add_buyers(self, activity_id: int, positions: Mapping[str, int]) -> None:
        users = list(sold.units_by_user(activity_id, positions).items())
        key = self._lane.activity(activity_id).buyers
        try:
            for first in range(0, len(users), BUYERS_CHUNK):
                pipe = self._redis.pipeline(transaction=True)
                for user, units in users[first : first + BUYERS_CHUNK]:
                    pipe.hincrby(key, str(user), units)
                pipe.execute()
        except redis.RedisError as away:
            raise RedisAway(away) from None


def state_of(activity: Activity) -> dict[str, int | None]:
    """The fields of an activity's state in Redis that its row decides; None: not set."""

    def milliseconds(moment: datetime | None) -> int | None:
        return None if moment is None else round(moment.timestamp() * 1000)

    return {
        "opens_at": milliseconds(activity.opens_at),
        "closes_at": milliseconds(activity.closes_at),
        "user_limit": activity.user_limit,
        "timeout": activity.timeout_ms,
    }


def not_loaded(activity_id: int) -> NoSuchActivity:
    """The refusal of an act on an activity that Redis does not have."""
    return NoSuchActivity(
        _("activity %(id)s is not loaded in Redis; load it with sync_from_db or set_stock")
        % {"id": activity_id},
        "activity_id",
    )
