"""A whole sale on the embedded services, for `make run` and `make demo`.

Owns the order of steps: services, tables, stock, workers, load, drain, result. Each part is an
ordinary command that can also run alone. Nothing here decides or stores anything.
"""

import http.client
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis

from demo.at_door import PEAK_RATE, AtDoor, clicks_of, held_against_the_orders
from demo.figures import Moment, Plan, Result
from devstack.crew import Crew
from devstack.endpoints import DevstackError
from devstack.state import listens
from seckill.audit.audit import Report, audit
from seckill.audit.verdict import write_last_audit
from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.control.control import Control
from seckill.errors import ServiceAway
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.process.shutdown import Shutdown
from seckill.report.data import collect
from seckill.report.page import render

# What sends the load: to Kafka, and at the door. They end by themselves.
LOADERS = frozenset({"run_loadgen", "run_loadgen_http"})
# Seconds that a guest has to pay.
GUEST_HOLD_S = 120
# Seconds between two readings of the running sale.
LOOK_S = 0.25
# What the clicks were told, in the folder of the workers' output.
ANSWERS = "answers.jsonl"
# A sale without progress for so many seconds is stuck.
STUCK_S = 60.0


@dataclass
class Sale:
    """One sale: call `prepare`, then `play`. `crew.stop()` stops what it started."""

    plan: Plan
    server: Server
    client: "redis.Redis"
    topics: Topics
    crew: Crew
    shutdown: Shutdown
    say: Callable[[str], None]
    show: Callable[[Moment], None]
    # The ports of the web process and of the buyers' door.
    port: int
    door_port: int
    # What the door is told of the demo shop.
    door_flags: Sequence[str]

    _source: str = ""
    _before: LaneStatus | None = None
    _sent_before: int = 0
    _history: list[tuple[float, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Topic, stock, workers. Requests of an earlier run in the topic are decided first."""
        self.topics.ensure(self.server.topic)
        self._source = str(self.topics.source(self.server.topic))
        Control(self.client, "run_sale", Lane()).set_stock(self.plan.activity_id, self.plan.stock)
        gone = self._members()
        self.crew.start(
            "run_consumer",
            *("run_consumer", "--consumers", str(self.plan.consumers)),
            *("--timeout", str(self.plan.timeout_ms), "--status-interval", "5"),
        )
        self.crew.start("run_log_worker", "run_log_worker")
        self.crew.start("run_control_api", "run_control_api", "--port", str(self.port))
        self.crew.start("run_settler", "run_settler")
        self.crew.start("run_door", "run_door", "--port", str(self.door_port), *self.door_flags)
        self.say("waiting for the workers")
        self._await_workers(gone)
        if not self._drain(lambda _: None):
            raise DevstackError(
                f"the workers do not decide requests of an earlier run; see {self.crew.folder}"
            )
        control = Control(self.client, "run_sale", Lane())
        if read_lane(self.client, Lane()).activities[self.plan.activity_id].hold_s:
            # Of the guests of an earlier run. Nobody pays for the load.
            control.configure_fields(self.plan.activity_id, hold_s=None)
        act = control.set_stock(self.plan.activity_id, self.plan.stock)
        self.say(f"on sale, activity {self.plan.activity_id}: {act.new}")

    def play(self) -> Result:
        """Send the load, watch it being decided and stored, and audit."""
        plan = self.plan
        self._before = read_lane(self.client, Lane())
        self._sent_before = sum(self.topics.end_offsets(self.server.topic).values())
        clicks, answers = clicks_of(plan.requests), self.crew.folder / ANSWERS
        answers.unlink(missing_ok=True)
        load = ["run_loadgen", "--profile", plan.profile, "--seed", str(plan.seed), "--quiet"]
        # Of this run: with the ids of an earlier one they were its clicks, and bought nothing.
        load += ["--ids", secrets.token_hex(6)]
        began = time.monotonic()
        if clicks:
            self.crew.start(
                *("run_loadgen_http", *load, "--requests", str(clicks), "--rate", str(PEAK_RATE)),
                *("--http", f"http://127.0.0.1:{self.door_port}", "--answers", str(answers)),
            )
        self.crew.start(
            *("run_loadgen", *load, "--requests", str(plan.requests - clicks)),
            # The faster client leaves more of the machine's cores to the sale.
            *("--kafka-client", "confluent-kafka"),
        )
        stuck = not self._drain(self.show, began=began, load=True)
        lane = read_lane(self.client, Lane())
        activity = lane.activities[plan.activity_id]
        outcomes = {o: n for o, n in activity.outcomes.items() if n}
        for outcome, now, before in (
            (Outcome.INVALID, lane.invalid, self._before.invalid),
            (
                Outcome.NO_SUCH_ACTIVITY,
                lane.no_such_activity,
                self._before.no_such_activity,
            ),
        ):
            if now > before:
                outcomes[outcome] = now - before
        return Result(
            outcomes=outcomes,
            decided=lane.decided - self._before.decided,
            decided_in_s=self._busy_seconds(),
            latency_ms={
                name: activity.latency.percentile(share)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            records=activity.records,
            units_sold=activity.units_sold,
            audit=self._audit(),
            at_door=self._compared(clicks, answers),
            stuck=stuck,
        )

    def _compared(self, clicks: int, answers: Path) -> AtDoor:
        if self.shutdown.requested:
            # The file may end in the middle of a line.
            return AtDoor(clicks)
        return held_against_the_orders(clicks, answers, self.server.pg_dsn)

    def _audit(self) -> Report:
        report = audit(self.client, Lane())
        first = report.findings[0] if report.findings else None
        finding = f"{first.invariant}: {first.culprit}: {first.explanation}" if first else ""
        write_last_audit(self.client, report.clean, report.checks, finding, "run_sale", Lane())
        return report

    def draw(self, result: Result, file: Path) -> None:
        """Write the report of the sale. Raises ServiceAway."""
        report = collect(self.client, self.server, self.plan.activity_id, Lane(), with_audit=False)
        report.audit = result.audit
        file.write_text(render(report), encoding="utf-8")

    def open_again(self, units: int) -> int:
        """Put a few units on sale for guests, who have to pay in time; returns of which item."""
        item = min(self.plan.stock)
        act = Control(self.client, "run_sale", Lane(), note="for guests")
        act.configure_fields(self.plan.activity_id, hold_s=GUEST_HOLD_S)
        act.add_stock(self.plan.activity_id, {item: units})
        return item

    def keep_alive(self) -> None:
        """Restart workers that have ended, until a stop is requested."""
        while not self.shutdown.wait(1.0):
            self._restart_ended()

    def _members(self) -> frozenset[str]:
        try:
            return self.topics.group_members(self.server.group_id)
        except ServiceAway:
            # A new Kafka has no group coordinator yet, so there are no members.
            return frozenset()

    def _await_workers(self, gone: frozenset[str]) -> None:
        """Wait until the consumers have their partitions, and web process and door answer.

        The members in `gone` are from a killed run: their sessions must expire first.
        """
        deadline = time.monotonic() + STUCK_S
        while not self.shutdown.wait(LOOK_S):
            self._restart_ended()
            members = self._members()
            settled = len(members) == self.plan.consumers and not members & gone
            if settled and listens(self.port) and _is_ready(self.door_port):
                return
            if time.monotonic() > deadline:
                raise DevstackError(f"the workers do not start; see {self.crew.folder}")

    def _drain(
        self, show: Callable[[Moment], None], *, began: float | None = None, load: bool = False
    ) -> bool:
        """Watch until everything is sent, decided and stored. False if there is no progress."""
        started = began or time.monotonic()
        moved_at, last = time.monotonic(), (-1, -1, -1)
        while not self.shutdown.wait(LOOK_S):
            loading = load and bool(LOADERS & self.crew.running())
            self._restart_ended()
            try:
                lane = read_lane(self.client, Lane())
                ends = self.topics.end_offsets(self.server.topic)
            except ServiceAway as away:
                self.say(str(away))
                continue
            decided_to = sum(
                lane.positions.get(position_field(self._source, partition), 0) for partition in ends
            )
            now = (sum(ends.values()), decided_to, lane.waiting)
            if now != last:
                moved_at, last = time.monotonic(), now
            elif time.monotonic() - moved_at > STUCK_S:
                return False
            if self._before is not None:
                show(self._moment(lane, sum(ends.values()), time.monotonic() - started))
            if not loading and decided_to >= sum(ends.values()) and lane.waiting == 0:
                return True
        return True

    def _moment(self, lane: LaneStatus, end: int, seconds: float) -> Moment:
        assert self._before is not None
        activity = lane.activities[self.plan.activity_id]
        decided = lane.decided - self._before.decided
        self._history.append((seconds, decided))
        since = next(
            (pair for pair in self._history if seconds - pair[0] <= 1.5), (seconds, decided)
        )
        rate = (decided - since[1]) / (seconds - since[0]) if seconds > since[0] else 0.0
        return Moment(
            seconds=seconds,
            sent=end - self._sent_before,
            decided=decided,
            accepted=activity.success,
            left=sum(item.left for item in activity.items.values()),
            stored=activity.records - lane.waiting,
            waiting=lane.waiting,
            rate=rate,
        )

    def _busy_seconds(self) -> float:
        """From the last reading before the first decision to the first one after the last."""
        final = self._history[-1][1] if self._history else 0
        begin = max((s for s, n in self._history if n == 0), default=0.0)
        end = min((s for s, n in self._history if n == final), default=0.0)
        return max(end - begin, LOOK_S)

    def _restart_ended(self) -> None:
        for name, code in self.crew.ended().items():
            if name in LOADERS and code == 0:
                continue
            self.say(f"{name} ended with code {code}; see {self.crew.log(name)}")
            if name not in LOADERS:
                self.crew.restart(name)


def _is_ready(port: int) -> bool:
    """Whether the door takes clicks and can read answers."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def logs_folder(folder: Path) -> Path:
    """The folder of the workers' output."""
    return folder / "logs"
