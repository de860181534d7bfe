"""The script of an act: the arguments that all of them share, and the answers that refuse.

Owns the way from an act's turn to its script and back. Changes nothing outside Redis.
"""

from dataclasses import dataclass, replace
from typing import Any

import redis
from django.utils.translation import gettext as _

from seckill.errors import Fenced, NoSuchActivity, Refused, VersionMoved
from seckill.lane.client import read_together, run_script
from seckill.lane.keys import CONTROL_CHANNEL, Lane

# What scripts answer when they refuse; each has changed nothing then.
NOT_LOADED, MOVED, TOO_MANY, NOT_ON_SALE, FENCED, TORN = -1, -2, -3, -4, -5, -6


@dataclass(frozen=True)
class Turn:
    """One actor's turn in one activity, as scripts are told of it.

    `version` is the one that the act builds on, None for any: a script that arrives late, after
    its sender has given up and somebody else has steered, finds it moved and changes nothing.
    `journal` names the row of this act (`seckill.journal.mark`); the script leaves it in the state:
    so it is known later whether an act whose answer was lost was done. "0" for a step that is not
    the act itself.
    """

    activity_id: int
    actor: str
    version: int | None = None
    journal: str = "0"

    def step(self, version: int | None) -> "Turn":
        """A step before the act, at this version."""
        return replace(self, version=version, journal="0")

    def at(self, version: int) -> "Turn":
        """The act itself, after steps that led to this version."""
        return replace(self, version=version)


@dataclass(frozen=True)
class Seen:
    """What Redis has of an activity: version 0 where it is not loaded, and the last act's mark."""

    version: int
    journal: str


class ActScripts:
    """Runs scripts of acts in one lane. All raise RedisAway, and Refused for what they refuse."""

    def __init__(self, client: "redis.Redis", lane: Lane) -> None:
        self._redis = client
        self._lane = lane

    def run(
        self, name: str, turn: Turn, keys: list[str], args: list[str | int] | None = None
    ) -> list[Any]:
        """Run `lua/<name>.lua` on the registry, the lane, the state and these keys; its answer."""
        answer: list[Any] = run_script(
            self._redis,
            name,
            [
                self._lane.activities,
                self._lane.state,
                self._lane.activity(turn.activity_id).state,
                *keys,
            ],
            [
                turn.activity_id,
                CONTROL_CHANNEL,
                turn.actor,
                "" if turn.version is None else turn.version,
                turn.journal,
                *(args or []),
            ],
        )
        code = int(answer[0])
        if code == NOT_LOADED:
            raise not_loaded(turn.activity_id)
        if code == MOVED:
            raise moved(turn.activity_id, turn.version or 0, int(answer[1]))
        if code == TOO_MANY:
            raise Refused(
                _("too many units were ever put on sale of item %(item)s")
                % {"item": answer[1].decode()}
            )
        if code == NOT_ON_SALE:
            raise Refused(
                _("item %(item)s is not on sale in activity %(id)s; set_stock puts it on sale")
                % {"item": answer[1].decode(), "id": turn.activity_id}
            )
        if code == FENCED:
            raise fenced(answer[1].decode())
        if code == TORN:
            raise Fenced(
                _(
                    "a part of activity %(id)s is missing in Redis: a key was evicted or deleted. "
                    "manage.py recover rebuilds it, and no act can"
                )
                % {"id": turn.activity_id}
            )
        return answer

    def look(self, activity_id: int) -> Seen:
        """What Redis has of an activity now."""
        known, (version, journal) = read_together(
            self._redis,
            ("SISMEMBER", self._lane.activities, str(activity_id)),
            ("HMGET", self._lane.activity(activity_id).state, "version", "journal"),
        )
        return Seen(int(version or 0) if known else 0, (journal or b"").decode())


def fenced(why: str) -> Fenced:
    """The refusal of an act on a lane in which nothing may be decided."""
    return Fenced(
        _(
            "the lane is fenced (%(why)s): no act may change it. manage.py recover shows the plan, "
            "--apply carries it out"
        )
        % {"why": why}
    )


def not_loaded(activity_id: int) -> NoSuchActivity:
    """The refusal of an act on an activity that Redis does not have."""
    return NoSuchActivity(
        _("activity %(id)s is not loaded in Redis; load it with sync_from_db or set_stock")
        % {"id": activity_id},
        "activity_id",
    )


def moved(activity_id: int, expected: int, found: int) -> VersionMoved:
    """The refusal of an act that builds on a version which is gone."""
    return VersionMoved(
        _(
            "activity %(id)s was steered meanwhile: this act builds on version %(expected)s, and it"
            " is at version %(found)s; look at it again, and repeat the act if it is still wanted"
        )
        % {"id": activity_id, "expected": expected, "found": found},
        expected,
        found,
    )
