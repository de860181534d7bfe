"""A whole sale on the embedded services, for `make run` and `make demo`.

Owns the order of steps: services, tables, stock, workers, load, drain, result. Each part is an
ordinary command that can also run alone. Nothing here decides or stores anything.
"""

import http.client
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.at_door import PEAK_RATE, AtDoor, clicks_of, held_against_the_orders
from demo.figures import Moment, Plan, Result
from demo.lanes import profile_for, share
from demo.part import ACTOR, Look, Part
from devstack.crew import Crew
from devstack.endpoints import DevstackError
from devstack.state import listens
from seckill.audit.audit import Report, audit
from seckill.audit.verdict import write_last_audit
from seckill.errors import ServiceAway
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import Outcome
from seckill.lane.status import Histogram, read_lane
from seckill.process.shutdown import Shutdown
from seckill.report.data import collect
from seckill.report.page import render

# What sends the load is called so: to Kafka in each lane, and at the door. They end by themselves.
LOADER = "run_loadgen"
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
    parts: Sequence[Part]
    crew: Crew
    shutdown: Shutdown
    say: Callable[[str], None]
    show: Callable[[Moment], None]
    # The ports of the web process and of the buyers' door.
    port: int
    door_port: int
    # What the door is told of the demo shop.
    door_flags: Sequence[str]

    _begun: bool = False
    _history: list[tuple[float, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Topic, stock, workers. Requests of an earlier run in the topic are decided first."""
        for part in self.parts:
            part.open()
        gone = [part.members() for part in self.parts]
        # By name: a file may name lanes that have nothing to do with this sale.
        lanes = [word for part in self.parts for word in ("--lane", part.lane.name)]
        self.crew.start(
            "run_consumer",
            *("run_consumer", *lanes, "--consumers", str(self.plan.consumers)),
            *("--timeout", str(self.plan.timeout_ms), "--status-interval", "5"),
        )
        self.crew.start("run_log_worker", "run_log_worker", *lanes)
        self.crew.start("run_control_api", "run_control_api", "--port", str(self.port))
        self.crew.start("run_settler", "run_settler", *lanes)
        self.crew.start(
            *("run_door", "run_door", *lanes, "--port", str(self.door_port), *self.door_flags)
        )
        self.say("waiting for the workers")
        self._await_workers(gone)
        if not self._drain(lambda _: None):
            raise DevstackError(
                f"the workers do not decide requests of an earlier run; see {self.crew.folder}"
            )
        for part in self.parts:
            self.say(part.put_on_sale())

    def play(self) -> Result:
        """Send the load, watch it being decided and stored, and audit."""
        plan = self.plan
        for part in self.parts:
            part.begin()
        self._begun = True
        clicks, answers = clicks_of(plan.requests), self.crew.folder / ANSWERS
        answers.unlink(missing_ok=True)
        load = ["--seed", str(plan.seed), "--quiet"]
        # Of this run: with the ids of an earlier one they were its clicks, and bought nothing.
        load += ["--ids", secrets.token_hex(6)]
        began = time.monotonic()
        if clicks:
            self.crew.start(
                *("run_loadgen_http", LOADER, *self._profile(*self.parts), *load),
                *("--requests", str(clicks), "--rate", str(PEAK_RATE)),
                *("--http", f"http://127.0.0.1:{self.door_port}", "--answers", str(answers)),
            )
        for part in self.parts:
            requests = share(plan.requests - clicks, plan.lanes, part.number)
            name = LOADER if part.lane.name == MAIN else f"{LOADER}-{part.lane.name}"
            self.crew.start(
                *(name, LOADER, "--lane", part.lane.name, *self._profile(part), *load),
                *("--requests", str(requests)),
                # The faster client leaves more of the machine's cores to the sale.
                *("--kafka-client", "confluent-kafka"),
            )
        stuck = not self._drain(self.show, began=began, load=True)
        outcomes: Counter[Outcome] = Counter()
        buckets: Counter[int] = Counter()
        decided = records = units_sold = 0
        for part in self.parts:
            status = read_lane(part.client, part.lane)
            activity = part.activity(status)
            assert part.before is not None
            outcomes.update(activity.outcomes)
            outcomes[Outcome.INVALID] += status.invalid - part.before.invalid
            nowhere = status.no_such_activity - part.before.no_such_activity
            outcomes[Outcome.NO_SUCH_ACTIVITY] += nowhere
            buckets.update(activity.latency.buckets)
            decided += part.decided(status)
            records += activity.records
            units_sold += activity.units_sold
        latency = Histogram(buckets)
        return Result(
            outcomes={outcome: count for outcome, count in outcomes.items() if count},
            decided=decided,
            decided_in_s=self._busy_seconds(),
            latency_ms={
                name: latency.percentile(part_of)
                for name, part_of in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            records=records,
            units_sold=units_sold,
            audit=self._audit(),
            at_door=self._compared(clicks, answers),
            stuck=stuck,
        )

    def _profile(self, *parts: Part) -> list[str]:
        """Whose requests ask for the activities of these parts."""
        if self.plan.lanes == 1:
            return ["--profile", self.plan.profile]
        activities = dict.fromkeys((part.activity_id for part in parts), 1.0)
        return ["--profile", profile_for(self.plan.profile, activities, self.crew.folder)]

    def _compared(self, clicks: int, answers: Path) -> AtDoor:
        if self.shutdown.requested:
            # The file may end in the middle of a line.
            return AtDoor(clicks)
        return held_against_the_orders(clicks, answers, self.parts[0].server.pg_dsn)

    def _audit(self) -> Report:
        """That of all lanes, and of each the last verdict."""
        whole = Report()
        for part in self.parts:
            report = audit(part.client, part.lane)
            first = report.findings[0] if report.findings else None
            finding = f"{first.invariant}: {first.culprit}: {first.explanation}" if first else ""
            checks = report.checks
            write_last_audit(part.client, report.clean, checks, finding, ACTOR, part.lane)
            part.audit = report
            whole.clean = whole.clean and report.clean
            whole.checks += report.checks
            whole.findings += report.findings
        return whole

    def draw(self, folder: Path) -> list[Path]:
        """Write the reports of the sale, one for each lane; where. Raises ServiceAway."""
        files = []
        for part in self.parts:
            args = part.client, part.server, part.activity_id, part.lane
            report = collect(*args, with_audit=False)
            report.audit = part.audit
            main = part.lane.name == MAIN
            files.append(folder / ("report.html" if main else f"report-{part.lane.name}.html"))
            files[-1].write_text(render(report), encoding="utf-8")
        return files

    def open_again(self, units: int) -> int:
        """Put a few units on sale for guests, who have to pay in time; returns of which item."""
        item = min(self.plan.stock)
        act = self.parts[0].control(note="for guests")
        act.configure_fields(self.plan.activity_id, hold_s=GUEST_HOLD_S)
        act.add_stock(self.plan.activity_id, {item: units})
        return item

    def keep_alive(self) -> None:
        """Restart workers that have ended, until a stop is requested."""
        while not self.shutdown.wait(1.0):
            self._restart_ended()

    def _await_workers(self, gone: Sequence[frozenset[str]]) -> None:
        """Wait until the consumers have their partitions, and web process and door answer.

        The members in `gone` are from a killed run: their sessions must expire first.
        """
        deadline = time.monotonic() + STUCK_S * self.plan.lanes
        while not self.shutdown.wait(LOOK_S):
            self._restart_ended()
            members = [part.members() for part in self.parts]
            settled = all(
                len(now) == self.plan.consumers and not now & before
                for now, before in zip(members, gone, strict=True)
            )
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
            loading = load and any(name.startswith(LOADER) for name in self.crew.running())
            self._restart_ended()
            try:
                looks = [part.look() for part in self.parts]
            except ServiceAway as away:
                self.say(str(away))
                continue
            now = (
                sum(look.end for look in looks),
                sum(look.decided_to for look in looks),
                sum(look.status.waiting for look in looks),
            )
            if now != last:
                moved_at, last = time.monotonic(), now
            elif time.monotonic() - moved_at > STUCK_S:
                return False
            if self._begun:
                show(self._moment(looks, time.monotonic() - started))
            end, decided_to, waiting = now
            if not loading and decided_to >= end and waiting == 0:
                return True
        return True

    def _moment(self, looks: Sequence[Look], seconds: float) -> Moment:
        pairs = list(zip(self.parts, looks, strict=True))
        activities = [part.activity(look.status) for part, look in pairs]
        decided = sum(part.decided(look.status) for part, look in pairs)
        waiting = sum(look.status.waiting for look in looks)
        self._history.append((seconds, decided))
        since = next(
            (pair for pair in self._history if seconds - pair[0] <= 1.5), (seconds, decided)
        )
        rate = (decided - since[1]) / (seconds - since[0]) if seconds > since[0] else 0.0
        return Moment(
            seconds=seconds,
            sent=sum(look.end - part.sent_before for part, look in pairs),
            decided=decided,
            accepted=sum(activity.success for activity in activities),
            left=sum(item.left for activity in activities for item in activity.items.values()),
            stored=sum(activity.records for activity in activities) - waiting,
            waiting=waiting,
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
            if name.startswith(LOADER) and code == 0:
                continue
            self.say(f"{name} ended with code {code}; see {self.crew.log(name)}")
            if not name.startswith(LOADER):
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
