"""Operators: acts, recovery and audit, as the product has them now. The driver's other half.

What an act or a recovery says is passed on as text, with how it ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from seckill.audit import CannotCheck, audit
from seckill.control import Control
from seckill.errors import PostgresAway, RedisAway, Refused
from seckill.fence import RECOVERING
from seckill.keys import Lane
from seckill.recovery import recover
from tests.sale import load_scripts
from tests.search.wires import Fate, HoldAt, Late, Wire, reach

ACTIVITY = 1
HOUR = timedelta(hours=1)
# Ends of an act.
DONE, REFUSED, UNKNOWN, CRASHED = "done", "refused", "unknown", "a traceback"


@dataclass(frozen=True)
class Verdict:
    """What the audit says; `clean` None where it could not look. `advice`: what to do, in words."""

    clean: bool | None
    findings: list[str]
    advice: list[str]


@dataclass(frozen=True)
class ActCall:
    """How an act is asked for, and its scripts."""

    scripts: frozenset[str]
    call: Callable[[Control, Any], Any]


def _act(scripts: str, call: Callable[[Control, Any], Any]) -> ActCall:
    return ActCall(frozenset(scripts.split()), call)


def _close(control: Control, closed: bool) -> None:
    control.configure_fields(ACTIVITY, closes_at=timezone.now() - HOUR if closed else None)


# By the names that the oracle knows.
ACTS = {
    "set_stock": _act("set_stock", lambda c, stock: c.set_stock(ACTIVITY, stock)),
    "add_stock": _act("add_stock", lambda c, stock: c.add_stock(ACTIVITY, stock)),
    "finished": _act("finish reopen", lambda c, on: (c.finish if on else c.reopen)(ACTIVITY)),
    "paused": _act("pause", lambda c, on: (c.pause if on else c.resume)(ACTIVITY)),
    "closed": _act("configure", _close),
    "limit": _act("configure", lambda c, n: c.configure_fields(ACTIVITY, user_limit=n)),
    "sync_from_db": _act("sync", lambda c, _: c.sync_from_db(ACTIVITY)),
}


class Operators:
    """Whoever steers the lane: on the server that is the lane's now, over lines that may fail."""

    def __init__(self, urls: Sequence[str], source: str) -> None:
        self.source = source
        self.partitions = 0
        # The server that is the lane's.
        self.current = 0
        self.late: list[Late] = []
        self.wires = [self._wire(url) for url in urls]
        for wire in self.wires:
            load_scripts(wire)
        # What the next script of these names is to suffer, if its first argument is this one.
        self._fate: tuple[frozenset[str], str | None, Fate] | None = None
        # What happens before the next script of an act.
        self._meanwhile: Callable[[], None] | None = None

    @property
    def wire(self) -> Wire:
        """To the server that is the lane's now."""
        return self.wires[self.current]

    def act(
        self, name: str, value: Any, fate: Fate, meanwhile: Callable[[], None] | None = None
    ) -> tuple[str, str]:
        """(how it ended, what was said). `meanwhile` happens before its first script."""
        control = Control(self.wire, "olga", patience_s=0.02)
        act = ACTS[name]
        self._fate, self._meanwhile = (act.scripts, None, fate), meanwhile
        late = len(self.late)
        try:
            act.call(control, value)
        except Refused as refused:
            return REFUSED, str(refused)
        except (RedisAway, PostgresAway) as away:
            for script in self.late[late:]:
                script.about = (name, value)
            return UNKNOWN, str(away)
        except DatabaseError as bug:
            return CRASHED, str(bug).strip().splitlines()[0]
        finally:
            self._fate = self._meanwhile = None
        return DONE, ""

    def recover(
        self, late: str = "", meanwhile: Sequence[Callable[[], None]] = ()
    ) -> tuple[bool, str]:
        """`recover --apply`: (whether the sale goes on, what was said). `late`: "fence" or "lift",
        which comes later. `meanwhile`: what happens after the fence, and after the rebuilding."""
        between = list(meanwhile)

        def say(text: str) -> None:
            if between and text.startswith(("fenced", "rebuilt")):
                between.pop(0)()

        if late:
            word = RECOVERING if late == "fence" else ""
            self._fate = (frozenset({"fence"}), word, Fate.LATE)
        partitions = list(range(self.partitions))
        try:
            done = recover(self.wire, Lane(), self.source, partitions, "olga", say)
        except (RedisAway, PostgresAway, CannotCheck, Refused, DatabaseError) as wrong:
            return False, str(wrong).strip().splitlines()[0]
        finally:
            self._fate = None
        return done.lifted, "; ".join(f.explanation for f in done.report.findings)

    def arrive(self) -> tuple[Any, bool]:
        """The script that is longest on its way comes: (its act, whether it was done)."""
        script = self.late.pop(0)
        answer = script.wire.arrive(script.call)
        code = int(answer[0] if isinstance(answer, list) else answer)
        return script.about or (script.name, None), code >= (0 if isinstance(answer, list) else 1)

    def audit(self) -> Verdict:
        """`manage.py audit` on the server that is the lane's now."""
        try:
            report = audit(self.wire)
        except (CannotCheck, RedisAway, PostgresAway) as reason:
            return Verdict(None, [str(reason)], [])
        found = [f"{f.invariant}: {f.culprit}: {f.explanation}" for f in report.findings]
        return Verdict(report.clean, found, [f.act for f in report.findings])

    def _wire(self, url: str) -> Wire:
        wire = Wire.from_url(url, socket_timeout=10.0, retry=Retry(NoBackoff(), 0))
        wire.fate, wire.on_script, wire.late = self._fate_of, self._before, self.late
        return wire

    def _fate_of(self, name: str, arguments: Sequence[Any]) -> Fate:
        if self._fate is None:
            return Fate.DONE
        scripts, first, fate = self._fate
        if name not in scripts or first not in (None, arguments[0]):
            return Fate.DONE
        self._fate = None
        return fate

    def _before(self, name: str) -> None:
        if name == "trim_batch":
            reach(HoldAt.COMMITTED)
        elif self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
