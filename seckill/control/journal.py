"""The journal of acts, and the turns of operators.

The order is always the same. First a row is begun and committed in PostgreSQL. Then one transaction
takes the turn, has the act change Redis, and records in the row and the tables what was done.
Operators of one activity take turns by a lock on the activity's row.
A row that stays `started` means that the result is not known yet. Redis keeps the number of the
last journal row that it carried out, so the next act on that activity finds out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)
from django.utils.translation import gettext as _

from seckill.control.act_script import ActScripts, Seen, Turn, moved
from seckill.control.acts import CREATE, ActKind
from seckill.control.part_rows import MAKING
from seckill.control.tables import follow, follow_redis
from seckill.errors import NoSuchActivity, OtherLane, RedisAway, Refused, VersionMoved
from seckill.formats.advice import advised
from seckill.formats.outcomes import MAX_ID
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus
from seckill.models import Activity, StockChange
from seckill.postgres.through_django import postgres_errors
from seckill.postgres.witness import is_lost, mark

# What an act did: (version after it, old values, new values).
Done = tuple[int, dict[str, Any], dict[str, Any]]
# How many times an act is tried if late scripts of callers who have given up run before it.
ATTEMPTS = 5
LOCK_NOT_AVAILABLE = "55P03"
# Seconds that an act waits for its turn. Acts take milliseconds; a sync of many orders takes more.
PATIENCE_S = 5.0
# What a row says whose act Redis had done although the caller never heard of it.
LOST_ANSWER = "its answer was lost; Redis had done it"


@dataclass(frozen=True)
class Act:
    """What was done, and the version after it. `repeated`: done earlier, under the same key."""

    act: str
    activity_id: int
    version: int
    old: dict[str, Any]
    new: dict[str, Any]
    journal_id: int
    repeated: bool = False


@dataclass(frozen=True)
class Once:
    """A caller's key for one act, and a fingerprint of its content. Each actor has its own keys."""

    key: str
    fingerprint: str


class KeyReused(Refused):
    """The same idempotency key came with another act."""


class SomebodyElse(Refused):
    """Somebody else is acting on the same activity now."""


class UnderWay(Refused):
    """The first call with this idempotency key has not ended yet."""


class Journal:
    """Acts of one actor in one lane. Each has a journal row and waits for its turn."""

    def __init__(
        self,
        scripts: ActScripts,
        lane: Lane,
        status: Callable[[int], ActivityStatus | None],
        admit: Callable[[], None],
        actor: str,
        note: str = "",
        once: Once | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._scripts, self._lane = scripts, lane
        # Raises Fenced if no act may change this lane now.
        self._admit = admit
        self._patience_s = patience_s
        self._status = status
        self._actor, self._note, self._once = actor, note[:500], once

    def write(
        self,
        act: ActKind,
        activity_id: int,
        wanted: Mapping[str, Any],
        change: Callable[[Turn], Done],
        *,
        expected_version: int | None = None,
        make: bool = False,
    ) -> Act:
        """Begin a row, do the act in its turn, and complete the row.

        The row holds `wanted` until the act is done. `change` is called again if a late script ran
        in between. `make` creates the activity's row, and removes it again if the act is refused.
        Raises Refused, OtherLane, RedisAway, PostgresAway, and what `change` raises.
        """
        with advised(self._lane.name), postgres_errors():
            if not refuse_other_lane(activity_id, self._lane) and not make:
                raise NoSuchActivity(
                    _("activity %(id)s is not known") % {"id": activity_id}, "activity_id"
                )
            entry, repeated = self._begin(act, activity_id, wanted)
            if entry.state == StockChange.State.APPLIED:
                return _act_of(entry, repeated=True)
            # Outside the act's transaction: if that is lost after the script, the row must remain.
            made = make and self._row(activity_id)
            with self._told(entry, made=made, begun=repeated):
                # Somebody may have made it elsewhere since.
                refuse_other_lane(activity_id, self._lane)
                self._admit()
            return self._carry_out(entry, repeated, change, expected_version, made=made)

    def _carry_out(
        self,
        entry: StockChange,
        repeated: bool,
        change: Callable[[Turn], Done],
        expected_version: int | None = None,
        *,
        made: bool,
    ) -> Act:
        """Do the act of a row in its turn, and complete the row."""
        activity_id = entry.activity_id
        with self._told(entry, made=made), transaction.atomic():
            self._lock(entry, wait=not repeated)
            for attempt in range(1, ATTEMPTS + 1):
                seen = self._scripts.look(activity_id)
                self._settle(activity_id, seen)
                entry.refresh_from_db()
                if entry.state == StockChange.State.APPLIED:
                    return _act_of(entry, repeated=True)
                if entry.state == StockChange.State.FAILED:
                    raise UnderWay(_("the first call with this key was refused; try again"))
                if expected_version not in (None, seen.version):
                    raise moved(activity_id, expected_version or 0, seen.version)
                turn = Turn(activity_id, self._actor, seen.version, mark(entry.pk, entry.at))
                try:
                    entry.version, entry.old, entry.new = change(turn)
                    break
                except VersionMoved:
                    # A late script ran, whose sender has given up. It may be our own: look again.
                    if attempt == ATTEMPTS:
                        raise
            entry.state, entry.detail = StockChange.State.APPLIED, ""
            entry.save()
        return _act_of(entry)

    def make(
        self,
        activity_id: int | None,
        fields: Mapping[str, Any],
        wanted: Mapping[str, Any],
        change: Callable[[Turn], Done] | None,
    ) -> Act:
        """Create an activity's row and its journal row. Without an id it gets the next free one.

        `change` puts it on sale in the same act; the row holds `wanted` until then, and the
        activity goes again if that is refused. While its result is unknown the activity is there:
        a repeat with the same key ends it. Raises Refused if it exists, RedisAway, PostgresAway.
        """
        with advised(self._lane.name), postgres_errors():
            entry, repeated = self._begin(CREATE, activity_id or 0, {})
            if entry.state == StockChange.State.APPLIED:
                return _act_of(entry, repeated=True)
            if change is not None:
                with self._told(entry, begun=repeated):
                    self._admit()
            with self._told(entry), transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MAKING])
                entry.refresh_from_db()
                if entry.state == StockChange.State.APPLIED:
                    return _act_of(entry, repeated=True)
                # A row with content is that of a call which has made the activity already.
                if not entry.new:
                    entry.activity_id = _new_activity(
                        activity_id, {**fields, "lane": self._lane.name}
                    )
                    entry.old, entry.new = {}, dict(wanted)
                if change is None:
                    entry.version, entry.state = 0, StockChange.State.APPLIED
                entry.save()
            if change is None:
                return _act_of(entry)
            return self._carry_out(entry, repeated, change, made=True)

    def _row(self, activity_id: int) -> bool:
        """Make the activity's row in this lane, unless there is one. True if it was made."""
        return Activity.objects.get_or_create(pk=activity_id, defaults={"lane": self._lane.name})[1]

    def _begin(
        self, act: ActKind, activity_id: int, wanted: Mapping[str, Any]
    ) -> tuple[StockChange, bool]:
        """The row of this act, and whether an earlier call has begun it."""
        once = self._once
        row = StockChange(
            actor=self._actor,
            act=act.name,
            activity_id=activity_id,
            new=dict(wanted),
            note=self._note,
        )
        if once is None:
            row.save()
            return row, False
        row.idempotency_key, row.fingerprint = once.key, once.fingerprint
        try:
            with transaction.atomic():
                row.save()
            return row, False
        except IntegrityError:
            known = StockChange.objects.filter(actor=self._actor, idempotency_key=once.key).first()
        if known is None:
            # The first call was refused between the two statements, so its key is free again.
            raise UnderWay(_("the first call with this idempotency key has just ended; try again"))
        if known.fingerprint != once.fingerprint:
            raise KeyReused(
                _("this idempotency key was used for another call (journal row %(row)s)")
                % {"row": known.pk},
                "Idempotency-Key",
            )
        return known, True

    def _lock(self, entry: StockChange, *, wait: bool) -> None:
        """Take the turn until the transaction ends. Raises SomebodyElse if it comes too late.

        A repeat does not wait: it raises UnderWay.
        """
        taken = SomebodyElse(
            _(
                "somebody else is acting on activity %(id)s, and it takes a long time. See the "
                "journal; when that act has ended, repeat yours if it is still wanted"
            )
            % {"id": entry.activity_id}
        )
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"SET LOCAL lock_timeout TO '{round(self._patience_s * 1000)}ms'")
                row = Activity.objects.select_for_update(nowait=not wait).get(pk=entry.activity_id)
                # The act's own writes may wait without limit.
                cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
                if row.archived_at is not None:
                    raise Refused(
                        _(
                            "activity %(id)s is archived: its orders are in %(file)s. No act "
                            "changes it any more; make a new activity"
                        )
                        % {"id": row.pk, "file": row.archived_in}
                    )
            except Activity.DoesNotExist:
                # It was created for an act that was refused, and has just been removed again.
                raise taken from None
            except OperationalError as refused:
                if getattr(refused.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                    raise
                if wait:
                    raise taken from None
                raise UnderWay(
                    _("a call with this idempotency key is still under way; try again in a second")
                ) from None

    def settle(self, activity_id: int) -> None:
        """Complete the row of the last act in Redis. Only for a caller whom no act can overtake."""
        self._settle(activity_id, self._scripts.look(activity_id))

    def _settle(self, activity_id: int, seen: Seen) -> None:
        """Complete the row of the last act in Redis, if its result was not known.

        The caller holds the turn, so nobody else acts. The tables are updated to match Redis: all
        of them, if PostgreSQL came back older and has lost the row.
        """
        with connection.cursor() as cursor:
            lost = is_lost(cursor, seen.journal)
        now = self._status(activity_id) if lost else None
        if now is not None:
            follow_redis(activity_id, now, self._lane)
            return
        entry = _begun(seen.journal)
        status = self._status(entry.activity_id) if entry else None
        if entry is None or status is None:
            return
        follow(entry.activity_id, entry.act, entry.new or {}, status, entry.actor)
        entry.version, entry.old = seen.version, None
        entry.state = StockChange.State.APPLIED
        entry.detail = LOST_ANSWER
        entry.save()

    @contextmanager
    def _told(
        self, entry: StockChange, *, made: bool = False, begun: bool = False
    ) -> Iterator[None]:
        """Write to the row why an act was not done.

        A refused act frees its key, and an activity that was `made` for it is removed. Not if an
        earlier call has `begun` it, and nobody has looked yet whether Redis did it: a free key
        would do it twice.
        """
        try:
            yield
        except UnderWay:
            raise
        except Refused as refused:
            _note(entry, StockChange.State.STARTED if begun else StockChange.State.FAILED, refused)
            if made and not begun:
                _unmake(entry.activity_id)
            raise
        except RedisAway as away:
            _note(entry, StockChange.State.STARTED, away)
            raise
        except OperationalError:
            raise
        except DatabaseError as wrong:
            # If its script has run, the act is done: the next act on this activity completes the
            # row.
            undone = not self._may_be_done(entry)
            _note(entry, StockChange.State.FAILED if undone else StockChange.State.STARTED, wrong)
            raise

    def _may_be_done(self, entry: StockChange) -> bool:
        try:
            return self._scripts.look(entry.activity_id).journal == mark(entry.pk, entry.at)
        except RedisAway:
            return True


def refuse_other_lane(activity_id: int, lane: Lane) -> bool:
    """Whether the activity has a row. Raises OtherLane if it is another lane's.

    That lane's Redis has it. In a second one the same units would be sold once more.
    """
    its = Activity.objects.filter(pk=activity_id).values_list("lane", flat=True).first()
    if its not in (None, lane.name):
        raise OtherLane(
            _(
                "activity %(id)s is in lane %(its)s, and this is lane %(lane)s: act on it there "
                "(--lane %(its)s)"
            )
            % {"id": activity_id, "its": its, "lane": lane.name},
            str(its),
        )
    return its is not None


def _new_activity(activity_id: int | None, fields: Mapping[str, Any]) -> int:
    """The number of a new row; the caller holds the lock. Raises Refused if the number is taken."""
    last = Activity.objects.order_by("-id").values_list("id", flat=True).first()
    number = activity_id or (last or 0) + 1
    if number > MAX_ID:
        raise Refused(_("the highest number is taken; choose a free one"))
    if Activity.objects.filter(pk=number).exists():
        raise Refused(_("activity %(id)s exists already") % {"id": number})
    return int(Activity.objects.create(pk=number, **fields).pk)


def _begun(named: str) -> StockChange | None:
    """The row that Redis names, if its end is not known. Earlier versions left a number alone."""
    number = named.partition(":")[0]
    if not number:
        return None
    entry = StockChange.objects.filter(pk=int(number), state=StockChange.State.STARTED).first()
    return entry if entry is not None and named in (mark(entry.pk, entry.at), number) else None


def _note(entry: StockChange, state: str, reason: Exception) -> None:
    """Update a row after its turn has ended, unless the next act has completed it by now."""
    changed: dict[str, Any] = {"state": state, "detail": str(reason)[:500]}
    if state == StockChange.State.FAILED:
        changed["idempotency_key"] = None
    StockChange.objects.filter(pk=entry.pk, state=StockChange.State.STARTED).update(**changed)


def _unmake(activity_id: int) -> None:
    """Remove a row that was created for a refused act, unless somebody else uses it by now."""
    with transaction.atomic():
        row = Activity.objects.select_for_update(skip_locked=True).filter(pk=activity_id).first()
        others = StockChange.objects.filter(activity_id=activity_id)
        if row is None or others.exclude(state=StockChange.State.FAILED).exists():
            return
        if not row.items.exists():
            row.delete()


def _act_of(entry: StockChange, *, repeated: bool = False) -> Act:
    return Act(
        entry.act,
        entry.activity_id,
        entry.version or 0,
        entry.old or {},
        entry.new or {},
        entry.pk,
        repeated,
    )
