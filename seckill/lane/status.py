"""One reading of a lane at one moment: stock, counters, positions, what waits. Reads only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from seckill.formats.outcomes import Outcome
from seckill.lane.client import pairs, read_together, redis_errors
from seckill.lane.keys import Lane
from seckill.lane.phase import Phase, phase_of

# `base:X` is counter X at the last reset of the statistics. Since the reset: X - `base:X`.
BASELINE = "base:"
BUCKET = "ms:"
# Counters of settled holds, and of their units.
HOLD_COUNTERS = ("paid", "expired", "cancelled", "units_paid", "units_returned", "too_late")


@dataclass(frozen=True)
class Histogram:
    """Latencies in the buckets of decide_batch.lua: {lower bound in ms: requests}."""

    buckets: dict[int, int]

    @property
    def count(self) -> int:
        """Requests in all buckets."""
        return sum(self.buckets.values())

    @property
    def sum_ms(self) -> float:
        """The sum of all latencies, each taken as the middle of its bucket."""
        return sum(n * (low + (_width(low) - 1) / 2) for low, n in self.buckets.items())

    def minus(self, before: "Histogram") -> "Histogram":
        """What was counted after `before`."""
        return Histogram(
            {lower: n - before.buckets.get(lower, 0) for lower, n in self.buckets.items()}
        )

    def percentile(self, share: float) -> float | None:
        """The latency in ms that this share (0 to 1) of requests does not exceed; None if none.

        It is the middle of its bucket. Eight buckets per doubling keep the error below 6 %.
        """
        wanted, seen = share * self.count, 0
        for lower in sorted(self.buckets):
            seen += self.buckets[lower]
            if seen >= wanted and seen > 0:
                return lower if lower < 16 else lower + _width(lower) / 2
        return None


def _width(lower: int) -> int:
    return 1 if lower < 16 else 1 << (lower.bit_length() - 4)


@dataclass(frozen=True)
class ItemStatus:
    """One item: units left now, and units ever put on sale."""

    item_id: int
    left: int
    loaded: int

    @property
    def sold(self) -> int:
        """Units in accepted requests."""
        return self.loaded - self.left


@dataclass(frozen=True)
class Holds:
    """An activity's holds since the start. `held` are not settled; the next three and `units_paid`
    and `units_returned` are what became of the others; `too_late`: what came after that.
    """

    held: int = 0
    paid: int = 0
    expired: int = 0
    cancelled: int = 0
    units_paid: int = 0
    units_returned: int = 0
    too_late: int = 0

    @property
    def all(self) -> int:
        """Settled or not."""
        return self.held + self.ended

    @property
    def ended(self) -> int:
        """All that are settled."""
        return self.paid + self.expired + self.cancelled


@dataclass(frozen=True)
class ActivityStatus:
    """An activity in Redis. `total_` counters run since the start, the others since a reset.

    `units_sold` did not come back; `total_units` were accepted, whatever became of them.
    """

    activity_id: int
    version: int
    over: str | None
    opens_at_ms: int | None
    closes_at_ms: int | None
    user_limit: int | None
    timeout_ms: int | None
    items: dict[int, ItemStatus]
    outcomes: dict[Outcome, int]
    total_outcomes: dict[Outcome, int]
    units_sold: int
    total_units: int
    records: int
    total_records: int
    expired_with_stock: int
    total_expired_with_stock: int
    latency: Histogram
    total_latency: Histogram
    paused: bool = False
    # Seconds that an accepted request is held for its payment; None: it is sold at once.
    hold_s: int | None = None
    # Raised when units come back without an act.
    epoch: int = 0
    holds: Holds = Holds()
    # Whether all of its clicks are in Redis. False if it was loaded by a version without clicks.
    remembers_clicks: bool = False
    # The journal's row of the last act: see `seckill.witness.mark`.
    journal: str = ""
    # Of a sale over several lanes: its number and how many parts there are, as 0/2. "": not split.
    part: str = ""

    @property
    def leads(self) -> bool:
        """Whether it is the head of a sale over several lanes: acts on it reach all parts."""
        return self.part.startswith("0/")

    @property
    def left(self) -> int:
        """Units left of all items."""
        return sum(item.left for item in self.items.values())

    @property
    def loaded(self) -> int:
        """Units of all items ever put on sale, and not moved away."""
        return sum(item.loaded for item in self.items.values())

    @property
    def sold(self) -> int:
        """Units of all items in accepted requests."""
        return self.loaded - self.left

    @property
    def total_units_sold(self) -> int:
        """Units that were accepted since the start and did not come back."""
        return self.total_units - self.holds.units_returned

    @property
    def has_holds(self) -> bool:
        """Whether there are holds, were, or can be."""
        return bool(self.hold_s) or self.holds != Holds()

    @property
    def success(self) -> int:
        """Accepted requests."""
        return self.outcomes[Outcome.ACCEPTED]

    @property
    def timeouts(self) -> int:
        """Requests that came too late."""
        return self.outcomes[Outcome.EXPIRED]

    @property
    def failures(self) -> int:
        """Requests that were refused for any other reason."""
        return self.total - self.success - self.timeouts

    @property
    def total(self) -> int:
        """All requests of this activity."""
        return sum(self.outcomes.values())

    def phase(self, now_ms: int) -> Phase:
        """Where its sale stands."""
        return phase_of(self.over, self.paused, self.opens_at_ms, self.closes_at_ms, now_ms)


@dataclass(frozen=True)
class Fence:
    """Why nothing is decided in a lane: a word such as REWOUND, the time, and a text."""

    word: str
    at_ms: int
    why: str


@dataclass(frozen=True)
class LaneStatus:
    """A lane in Redis. `waiting` records are still to be stored in PostgreSQL. `dead` counts
    the dead records that need a person, as a log worker reported.

    `generation` counts rebuilds after a loss. `recovered` counts offsets that were decided before
    a loss and whose outcome is lost.
    """

    loaded: bool
    activities: dict[int, ActivityStatus]
    invalid: int
    no_such_activity: int
    skipped: int
    positions: dict[str, int]
    waiting: int
    dead: int
    recovered: int = 0
    # Outcomes of activities that were archived since.
    archived: int = 0
    generation: int = 0
    fence: Fence | None = None
    # The lane that this Redis holds, "" if none, and the term in which this Redis leads it.
    identity: str = ""
    term: int = 0
    # The highest time that the lane has seen, and Redis's clock at this reading, ms.
    clock_ms: int = 0
    now_ms: int = 0
    # {source:partition: the offset after its last record that PostgreSQL has stored}
    stored: dict[str, int] = field(default_factory=dict)
    # {activity: buyers counted}, for activities with a limit per user.
    buyers: dict[int, int] = field(default_factory=dict)
    # {activity: accepted requests with an id}, for activities that remember them.
    clicks: dict[int, int] = field(default_factory=dict)
    # Of the settle topic, as `positions`; settle messages by outcome; until when, by Redis's clock,
    # each partition was read.
    settle_positions: dict[str, int] = field(default_factory=dict)
    settle_stats: dict[str, int] = field(default_factory=dict)
    settle_read: dict[str, int] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, int]:
        """What lies below was decided or settled before this reading."""
        return {**self.positions, **self.settle_positions}

    @property
    def held(self) -> int:
        """Holds that are not settled, of all activities."""
        return sum(activity.holds.held for activity in self.activities.values())

    @property
    def needs_settler(self) -> bool:
        """Whether there are holds, or an activity that is not finished makes some."""
        makes = (a.hold_s and a.over != Phase.FINISHED for a in self.activities.values())
        return bool(self.held) or any(makes)

    @property
    def decided(self) -> int:
        """All outcomes since the start, of all activities and of none."""
        return (
            self.invalid
            + self.no_such_activity
            + sum(sum(a.total_outcomes.values()) for a in self.activities.values())
        )


def read_lane(client: "redis.Redis", lane: Lane) -> LaneStatus:
    """The lane at one moment, read by one script. Raises RedisAway."""
    with redis_errors():
        while True:
            known = sorted(int(member) for member in client.smembers(lane.activities))
            answers = read_together(
                client,
                ("SMEMBERS", lane.activities),
                ("LLEN", lane.list),
                ("TIME",),
                *(("HLEN", lane.activity(number).buyers) for number in known),
                *(("HLEN", lane.activity(number).clicks) for number in known),
                *(
                    ("HGETALL", key)
                    for key in (
                        *(lane.positions, lane.stats, lane.state, lane.stored),
                        *(lane.settle_positions, lane.settle_stats, lane.settle_read),
                    )
                ),
                *(("HGETALL", key) for number in known for key in _hashes(lane, number)),
            )
            members, waiting, (seconds, micros), *rest = answers
            if sorted(int(member) for member in members) == known:
                break
    buyers, clicks = (rest[i * len(known) : (i + 1) * len(known)] for i in range(2))
    positions, stats, state, stored, *more = [pairs(flat) for flat in rest[2 * len(known) :]]
    settle_positions, settle_stats, settle_read, *hashes = more
    lane_stats = _numbers(stats)
    words = {_text(key): _text(value) for key, value in state.items()}
    activities = {
        activity_id: _activity(activity_id, *hashes[4 * i : 4 * i + 4])
        for i, activity_id in enumerate(known)
    }
    return LaneStatus(
        loaded=bool(members),
        generation=int(words.get("generation", 0)),
        fence=_fence(words),
        activities=activities,
        invalid=lane_stats.get(str(int(Outcome.INVALID)), 0),
        no_such_activity=lane_stats.get(str(int(Outcome.NO_SUCH_ACTIVITY)), 0),
        skipped=lane_stats.get("skipped", 0),
        recovered=lane_stats.get("recovered", 0),
        archived=lane_stats.get("archived", 0),
        positions=_numbers(positions),
        waiting=waiting,
        dead=int(words.get("parked", 0)),
        identity=words.get("identity", ""),
        term=int(words.get("term", 0)),
        clock_ms=int(words.get("clock", 0)),
        now_ms=int(seconds) * 1000 + int(micros) // 1000,
        stored=_numbers(stored),
        # One field of the hash is its mark, not a buyer.
        buyers={
            activity_id: max(0, users - 1)
            for activity_id, users in zip(known, buyers, strict=True)
            if activities[activity_id].user_limit is not None
        },
        clicks={
            activity_id: max(0, fields - 1)
            for activity_id, fields in zip(known, clicks, strict=True)
            if activities[activity_id].remembers_clicks
        },
        settle_positions=_numbers(settle_positions),
        settle_stats=_numbers(settle_stats),
        settle_read=_numbers(settle_read),
    )


def _hashes(lane: Lane, activity_id: int) -> tuple[str, str, str, str]:
    keys = lane.activity(activity_id)
    return keys.state, keys.stock, keys.loaded, keys.stats


def _fence(words: Mapping[str, str]) -> Fence | None:
    if not words.get("fenced"):
        return None
    return Fence(words["fenced"], int(words.get("fenced_at", 0)), words.get("fenced_why", ""))


def _activity(
    activity_id: int,
    state: Mapping[Any, Any],
    stock: Mapping[Any, Any],
    loaded: Mapping[Any, Any],
    stats: Mapping[Any, Any],
) -> ActivityStatus:
    words = {_text(key): _text(value) for key, value in state.items()}
    left, ever, counters = _numbers(stock), _numbers(loaded), _numbers(stats)

    def total(name: str) -> int:
        return counters.get(name, 0)

    def since(name: str) -> int:
        return counters.get(name, 0) - counters.get(BASELINE + name, 0)

    def number(name: str) -> int | None:
        return int(words[name]) if words.get(name) else None

    outcomes = [o for o in Outcome if o not in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY)]
    return ActivityStatus(
        activity_id=activity_id,
        version=number("version") or 0,
        over=words.get("over") or None,
        opens_at_ms=number("opens_at"),
        closes_at_ms=number("closes_at"),
        user_limit=number("user_limit"),
        timeout_ms=number("timeout"),
        paused="paused" in words,
        hold_s=number("hold_s"),
        epoch=number("epoch") or 0,
        holds=Holds(total("held"), **{name: total(name) for name in HOLD_COUNTERS}),
        remembers_clicks="clicks" in words,
        items={
            int(item): ItemStatus(int(item), units, ever.get(item, 0))
            for item, units in sorted(left.items(), key=lambda pair: int(pair[0]))
        },
        outcomes={o: since(str(int(o))) for o in outcomes},
        total_outcomes={o: total(str(int(o))) for o in outcomes},
        units_sold=since("units") - since("units_returned"),
        total_units=total("units"),
        records=since("records"),
        total_records=total("records"),
        expired_with_stock=since("expired_with_stock"),
        total_expired_with_stock=total("expired_with_stock"),
        latency=_histogram(counters, since),
        total_latency=_histogram(counters, total),
        journal=words.get("journal", ""),
        part=words.get("part", ""),
    )


def _histogram(counters: Mapping[str, int], count: Callable[[str], int]) -> Histogram:
    """The non-empty buckets, each counted by `count`."""
    return Histogram(
        {
            int(name.removeprefix(BUCKET)): count(name)
            for name in counters
            if name.startswith(BUCKET) and count(name)
        }
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _numbers(fields: Mapping[Any, Any]) -> dict[str, int]:
    return {_text(key): int(value) for key, value in fields.items()}
