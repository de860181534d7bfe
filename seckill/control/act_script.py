"""Calls the script of an act: the arguments that all scripts share, and the answers that refuse.

Owns the call from an act's turn to its script and back. Changes nothing outside Redis.
"""

from dataclasses import dataclass, replace
from typing import Any

import redis
from django.utils.translation import gettext as _

from seckill.errors import Fenced, NoSuchActivity, Refused, TooFew, VersionMoved
from seckill.lane.client import read_together, run_script
from seckill.lane.keys import CONTROL_CHANNEL, Lane

# The answers of a script that refuses. It has changed nothing then.
NOT_LOADED, MOVED, TOO_MANY, NOT_ON_SALE, FENCED, TORN = -1, -2, -3, -4, -5, -6
TOO_FEW, DECIDED = -7, -8


@dataclass(frozen=True)
class Turn:
    """What a script is told about an act: who, on which activity, based on which version.

    `version` None means any. If the sender has given up and somebody else has acted before the
    script arrives, the version has moved, and the script changes nothing.
    `journal` is the mark of this act's journal row (`seckill.postgres.witness.mark`). The script
    writes it to the state: if its answer is lost, the mark there shows whether the act was done.
    "0" for a step that is not the act itself.
    """

    activity_id: int
    actor: str
    version: int | None = None
    journal: str = "0"

    def step(self, version: int | None) -> "Turn":
        """A step that prepares the act, at this version."""
        return replace(self, version=version, journal="0")

    def at(self, version: int) -> "Turn":
        """The act itself, after preparing steps that led to this version."""
        return replace(self, version=version)


@dataclass(frozen=True)
class Seen:
    """An activity in Redis: its version (0: not loaded) and the mark of its last act."""

    version: int
    journal: str


class ActScripts:
    """Runs scripts of acts in one lane. Raises RedisAway, and Refused if the script refuses."""

    def __init__(self, client: "redis.Redis", lane: Lane) -> None:
        self._redis = client
        self._lane = lane

    def run(
        self, name: str, turn: Turn, keys: list[str], args: list[str | int] | None = None
    ) -> list[Any]:
        """Run `lua/<name>.lua`; returns its answer.

        Its keys are the registry, the lane and the activity's state, then `keys`.
        """
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
                _("the total units ever put on sale of item %(item)s would be too high")
                % {"item": answer[1].decode()}
            )
        if code == NOT_ON_SALE:
            raise Refused(
                _(
                    "item %(item)s is not on sale in activity %(id)s; manage.py set_stock puts it "
                    "on sale"
                )
                % {"item": answer[1].decode(), "id": turn.activity_id}
            )
        if code == TOO_FEW:
            raise TooFew(
                _("fewer units of item %(item)s are left in activity %(id)s")
                % {"item": answer[1].decode(), "id": turn.activity_id}
            )
        if code == DECIDED:
            raise Refused(
                _(
                    "activity %(id)s has answered %(n)s requests: a sale is split before it opens, "
                    "so that nobody can buy in two parts. Make a new one and split that"
                )
                % {"id": turn.activity_id, "n": int(answer[1])}
            )
        if code == FENCED:
            raise fenced(answer[1].decode())
        if code == TORN:
            raise Fenced(
                _(
                    "a part of activity %(id)s is missing in Redis: a key was evicted or deleted. "
                    "Only manage.py recover can rebuild it"
                )
                % {"id": turn.activity_id}
            )
        return answer

    def look(self, activity_id: int) -> Seen:
        """The activity as Redis has it now."""
        known, (version, journal) = read_together(
            self._redis,
            ("SISMEMBER", self._lane.activities, str(activity_id)),
            ("HMGET", self._lane.activity(activity_id).state, "version", "journal"),
        )
        return Seen(int(version or 0) if known else 0, (journal or b"").decode())


def fenced(why: str) -> Fenced:
    """The refusal of an act on a fenced lane."""
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
        _(
            "activity %(id)s is not loaded in Redis; load it with manage.py sync_from_db or "
            "manage.py set_stock"
        )
        % {"id": activity_id},
        "activity_id",
    )


def moved(activity_id: int, expected: int, found: int) -> VersionMoved:
    """The refusal of an act that is based on an older version."""
    return VersionMoved(
        _(
            "activity %(id)s has changed: this act is based on version %(expected)s, but the"
            " activity is at version %(found)s; look again, then repeat the act if still wanted"
        )
        % {"id": activity_id, "expected": expected, "found": found},
        expected,
        found,
    )
