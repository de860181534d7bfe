"""Control for a sale over several lanes: an act on its head goes to every part.

Owns what an act means for the whole sale, how it is split, and what is told if a lane is away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis
from django.utils.translation import gettext as _

from seckill.control import moves
from seckill.control.balance import rows_of
from seckill.control.control import Act, Control, Once
from seckill.control.part_rows import parts_of, plan_shares
from seckill.errors import DoneInPart, Refused, ServiceAway
from seckill.lane.keys import Lane
from seckill.models import Activity
from seckill.postgres.through_django import postgres_errors

# The client of a lane's Redis. Raises RedisAway if the lane is not configured.
Clients = Callable[[str], "redis.Redis"]


class SaleControl(Control):
    """Acts on a sale that may be split. On one that is not, it is Control.

    A pause, resume, finish, reopen, change of rules or sync is done in every part, the head first.
    If it cannot be done in some, DoneInPart says where it was done; a repeat does the rest.
    `others` are the acts of the other parts of the last act, for who shows them.
    """

    def __init__(
        self, clients: Clients, actor: str, lane: str, *, once: Once | None = None, **more: Any
    ) -> None:
        super().__init__(clients(lane), actor, Lane.named(lane), once=once, **more)
        self._clients, self._once, self._more = clients, once, more
        self.others: list[Act] = []

    def in_lane(self, lane: str, actor: str, once: Once | None) -> Control:
        """Control of another lane, with the same note. Raises RedisAway."""
        return Control(self._clients(lane), actor, Lane.named(lane), once=once, **self._more)

    def pause(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Pause every part."""
        return self._everywhere(activity_id, expected_version, Control.pause)

    def resume(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Resume every part."""
        return self._everywhere(activity_id, expected_version, Control.resume)

    def finish(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """End every part."""
        return self._everywhere(activity_id, expected_version, Control.finish)

    def reopen(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Reopen every part."""
        return self._everywhere(activity_id, expected_version, Control.reopen)

    def sync_from_db(self, activity_id: int, *, expected_version: int | None = None) -> Act:
        """Bring every part in line with the database."""
        return self._everywhere(activity_id, expected_version, Control.sync_from_db)

    def configure_fields(
        self, activity_id: int, *, expected_version: int | None = None, **fields: Any
    ) -> Act:
        """Change the fields of every part."""
        return self._everywhere(activity_id, expected_version, Control.configure_fields, **fields)

    def set_stock(
        self,
        activity_id: int,
        stock: Mapping[int, int],
        *,
        only_new: bool = False,
        expected_version: int | None = None,
    ) -> Act:
        """Refused for a split sale: its parts sell meanwhile, so no sum can be set."""
        if self._others_of(activity_id):
            raise Refused(
                _(
                    "activity %(id)s is split over lanes, so its units left cannot be set as a "
                    "whole: manage.py add_stock adds units, manage.py finish ends the sale"
                )
                % {"id": activity_id}
            )
        return super().set_stock(
            activity_id, stock, only_new=only_new, expected_version=expected_version
        )

    def add_stock(
        self, activity_id: int, stock: Mapping[int, int], *, expected_version: int | None = None
    ) -> Act:
        """Add units to the head, then move their shares to the other parts.

        What cannot be moved now stays planned: `activity balance` moves it.
        """
        done = super().add_stock(activity_id, stock, expected_version=expected_version)
        if not done.repeated and self._others_of(activity_id):
            with postgres_errors():
                plan_shares(activity_id, dict(stock), self._actor)
        self._end_moves(activity_id)
        return done

    def split(
        self, activity_id: int, lanes: Sequence[str], *, expected_version: int | None = None
    ) -> Act:
        """Split a sale over these lanes and bring each part its share.

        Called again with the same lanes it ends what was cut off. Raises Refused, and DoneInPart
        if a share could not be brought.
        """
        wanted = self._wanted(activity_id, lanes)
        with postgres_errors():
            known = [part.lane for part in parts_of(activity_id)]
        if known and known != wanted:
            raise Refused(
                _("activity %(id)s is split over %(lanes)s, for good")
                % {"id": activity_id, "lanes": ", ".join(known)}
            )
        for lane in wanted:
            # A lane that is away would begin without units.
            self.in_lane(lane, self._actor, None).status()
        if known:
            done = Act("split_activity", activity_id, 0, {}, {"lanes": ", ".join(known)}, 0, True)
        else:
            done = super().split(activity_id, wanted, expected_version=expected_version)
        waits = self._end_moves(activity_id)
        for part in rows_of(activity_id)[1:]:
            # One that gets no units is on sale all the same.
            control = self.in_lane(part.lane, self._actor, None)
            if part.pk not in control.status().activities:
                control.sync_from_db(part.pk)
        if waits:
            told = _("activity %(id)s is split, but units wait to be moved. Repeat it") % {
                "id": activity_id
            }
            raise DoneInPart(f"{told}: {'; '.join(waits)}", told)
        return done

    def _wanted(self, activity_id: int, lanes: Sequence[str]) -> list[str]:
        """The lanes with the head's first. Raises Refused."""
        with postgres_errors():
            row = Activity.objects.filter(pk=activity_id).first()
        if row is not None and row.part_of not in (None, row.pk):
            raise Refused(
                _("activity %(id)s is a part of activity %(head)s: name that")
                % {"id": activity_id, "head": row.part_of}
            )
        home = row.lane if row else self._lane.name
        if len(set(lanes)) != len(lanes) or len(lanes) < 2 or home not in lanes:
            raise Refused(
                _(
                    "name two lanes or more, each once, and among them lane %(lane)s, which the "
                    "activity is in: --lanes %(lane)s,..."
                )
                % {"lane": home}
            )
        return [home, *(lane for lane in lanes if lane != home)]

    def _others_of(self, activity_id: int) -> list[Activity]:
        with postgres_errors():
            return parts_of(activity_id)[1:]

    def _end_moves(self, head: int) -> list[str]:
        """Carry out what is planned; returns why some of it waits."""
        tried = [moves.attempt(move, self.in_lane) for move in moves.open_moves(head)]
        return [why for why in tried if why]

    def _everywhere(
        self, activity_id: int, expected: int | None, act: Callable[..., Act], **fields: Any
    ) -> Act:
        """The act in every part. `expected` is the version of the head, so it is asked first."""
        others, first, self.others = self._others_of(activity_id), None, []
        missed: list[tuple[str, Refused | ServiceAway]] = []
        try:
            first = act(self, activity_id, expected_version=expected, **fields)
        except ServiceAway as away:
            if expected is not None or not others:
                raise
            missed.append((self._lane.name, away))
        for part in others:
            try:
                control = self.in_lane(part.lane, self._actor, self._key_of(part.pk))
                self.others.append(act(control, part.pk, **fields))
            except (Refused, ServiceAway) as why:
                missed.append((part.lane, why))
        done = [*([first] if first else []), *self.others]
        if missed and not done:
            raise missed[0][1]
        if missed or first is None:
            lanes = {activity_id: self._lane.name, **{part.pk: part.lane for part in others}}
            where = ", ".join(lanes[each.activity_id] for each in done)
            text = _("done in lane %(done)s; not in lane %(missed)s. Repeat it: that does the rest")
            raise DoneInPart(
                text % {"done": where, "missed": "; ".join(f"{n} ({why})" for n, why in missed)},
                text % {"done": where, "missed": ", ".join(name for name, _why in missed)},
            )
        return first

    def _key_of(self, part: int) -> Once | None:
        """The caller's key for one part: each part's act has a row of its own."""
        if self._once is None:
            return None
        return replace(self._once, key=f"{self._once.key[:70]}/{part}")
