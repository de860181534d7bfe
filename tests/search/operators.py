"""Operators: acts, recovery and audit, as the product has them now. The driver's other half.

What an act or a recovery says is passed on as text, with how it ended.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from seckill.audit.audit import CannotCheck, audit
from seckill.control.control import Control
from seckill.dead_letters.records import Kind
from seckill.errors import Poison, PostgresAway, RedisAway, Refused
from seckill.formats.record import parse
from seckill.lane.client import no_retry
from seckill.lane.fence import RECOVERING
from seckill.lane.keys import Lane
from seckill.models import DeadRecord
from seckill.recovery.rebuild import recover
from tests.helpers.sale import load_scripts
from tests.search.facts import Evidence
from tests.search.servers import Keys, Tables
from tests.search.topic import Reader, Topic
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

    def __init__(self, servers: Sequence[Keys], tables: Tables, source: str) -> None:
        self.servers, self.tables, self.source = servers, tables, source
        self.partitions = 0
        self.topic = Topic(source, 0)
        # The server that addresses lead to, and the one that decides for the lane: see `Sale`.
        self.current = self.ruler = 0
        self.late: list[Late] = []
        self.wires = [self._wire(keys.url) for keys in servers]
        for wire in self.wires:
            load_scripts(wire)
        # What the next script of these names is to suffer, if its first argument is this one.
        self._fate: tuple[frozenset[str], str | None, Fate] | None = None
        self._processes = 0

    def begin(self, partitions: int) -> None:
        """A new sale: empty services."""
        for keys in self.servers:
            keys.client.flushall()
        self.tables.put_back("empty")
        self.partitions, self.current, self.ruler = partitions, 0, 0
        self.topic = Topic(self.source, partitions)
        self.late.clear()

    def name_process(self, server: int) -> None:
        """The server is another process than before."""
        self._processes += 1
        self.wires[server].run_id = f"process-{self._processes}"

    @property
    def wire(self) -> Wire:
        """To the server that is the lane's now."""
        return self.wires[self.current]

    def act(self, name: str, value: Any, fate: Fate) -> tuple[str, str]:
        """(how it ended, what was said)."""
        control = Control(self.wire, "olga", Lane(), patience_s=0.02)
        act = ACTS[name]
        self._fate = (act.scripts, None, fate)
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
            self._fate = None
        return DONE, ""

    def recover(
        self,
        late: str = "",
        meanwhile: Sequence[Callable[[], None]] = (),
        *,
        from_kafka: bool = False,
        accept_oversell: bool = False,
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
        topic: Any = Reader(self.topic) if from_kafka else None
        try:
            done = recover(
                self.wire,
                Lane(),
                self.source,
                list(range(self.partitions)),
                "olga",
                say,
                topic=topic,
                accept_oversell=accept_oversell,
            )
        except (RedisAway, PostgresAway, CannotCheck, Refused, DatabaseError) as wrong:
            return False, str(wrong).strip().splitlines()[0]
        finally:
            self._fate = None
        return done.lifted, "; ".join(f"{f.explanation} ({f.act})" for f in done.report.findings)

    def dismiss(self) -> int:
        """`dead_letters dismiss` of all orders that another master told. How many there were."""
        wanted = DeadRecord.objects.filter(dismissed_at=None, kind=Kind.OVERLAP)
        return wanted.update(dismissed_at=timezone.now(), dismissed_by="olga")

    def arrive(self) -> tuple[Any, bool]:
        """The script that is longest on its way comes: (its act, whether it was done)."""
        script = self.late.pop(0)
        answer = script.wire.arrive(script.call)
        code = int(answer[0] if isinstance(answer, list) else answer)
        return script.about or (script.name, None), code >= (0 if isinstance(answer, list) else 1)

    def audit(self) -> Verdict:
        """`manage.py audit` on the server that is the lane's now."""
        try:
            report = audit(self.wire, Lane())
        except (CannotCheck, RedisAway, PostgresAway) as reason:
            return Verdict(None, [str(reason)], [])
        found = [f"{f.invariant}: {f.culprit}: {f.explanation}" for f in report.findings]
        return Verdict(report.clean, found, [f.act for f in report.findings])

    # What is to be seen.

    def evidence(self) -> Evidence:
        """Rows, and the order lines that wait on the server that decides, or are kept apart."""
        texts = self._waiting(self.ruler)
        texts += [raw for kind, raw in self.tables.dead() if kind == Kind.REFUSED]
        return Evidence(self.tables.rows(), frozenset(_lines(texts)))

    def unnamed(self) -> set[tuple[int, int, int]]:
        """Order lines that wait on the server that is not the lane's, and nobody has named."""
        named = _lines(raw for _, raw in self.tables.dead())
        named |= {(row.partition, row.offset, row.item) for row in self.tables.rows()}
        return _lines(self._waiting(1 - self.current)) - named

    def lane_trouble(self) -> str:
        """Why nothing can be decided on the server that is the lane's now."""
        lane = Lane()
        pipe = self.wire.pipeline(transaction=False)
        pipe.hmget(lane.state, "fenced", "fenced_why")
        pipe.exists(lane.activities)
        (word, why), loaded = pipe.execute()
        if word:
            return f"fenced: {word.decode()}: {why.decode()}"
        return "" if loaded else "NOT_LOADED"

    def _waiting(self, server: int) -> list[bytes]:
        found: Any = self.wires[server].lrange(Lane().list, 0, -1)
        return list(found)

    def _wire(self, url: str) -> Wire:
        wire = Wire.from_url(url, socket_timeout=10.0, retry=no_retry())
        wire.fate, wire.on_script, wire.late = self._fate_of, _before, self.late
        wire.run_id = url
        return wire

    def _fate_of(self, name: str, arguments: Sequence[Any]) -> Fate:
        if self._fate is None:
            return Fate.DONE
        scripts, first, fate = self._fate
        if name not in scripts or first not in (None, arguments[0]):
            return Fate.DONE
        self._fate = None
        return fate


def _before(name: str) -> None:
    if name == "trim_batch":
        reach(HoldAt.COMMITTED)


def _lines(texts: Iterable[bytes]) -> set[tuple[int, int, int]]:
    """(partition, offset, item) of those that are order lines."""
    found = set()
    for text in texts:
        try:
            record = parse(text)
        except Poison:
            continue
        found.add((record.partition, record.offset, record.item_id))
    return found
