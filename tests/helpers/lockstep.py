"""The system and the pure model side by side, on Redis: the same batches, and what is compared.

Owns how a batch comes about (redelivered, overlapping, cut, with holes, losers as counts) and the
comparison of a lane with the model. Acts and log workers are for the tests that use it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import redis

from seckill.consumer.batch import NOTHING_KNOWN, Batch, Known, encode, skip
from seckill.consumer.engine import Engine, Status
from seckill.formats.outcomes import MAX_ID, OUTCOME_OF_DIGIT, Outcome, digit_of
from seckill.lane.clicks import click_field
from seckill.lane.fence import RECOVERING, fence, lift, new_token
from seckill.lane.keys import MARK, Lane, position_field
from seckill.lane.status import read_lane
from tests.helpers.figures import histogram
from tests.helpers.model import FOREVER, Model, ModelSale, Place, Wish
from tests.helpers.sale import body, now_ms

TIMEOUT_MS = 60_000
SOURCES = ("0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111", "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a222")
PLACES = [(SOURCES[0], 0), (SOURCES[0], 1), (SOURCES[1], 0)]
# An activity and an item that are never loaded are among those that requests name.
ACTIVITIES, ITEMS = [1, MAX_ID], [1001, 1002, MAX_ID]
HOUR_MS = 3_600_000
HOLE = "hole"


@dataclass(frozen=True)
class Ask:
    """A request that is to be sent: its age instead of its time."""

    user: int
    items: dict[int, int]
    age: int
    activity: int
    request_id: str | None

    def wish(self) -> Wish:
        """The request, as of now."""
        return Wish(self.user, self.items, now_ms() - self.age, self.activity, self.request_id)


class Lockstep:
    """The system and the model. `decide` does the same to both; `compare` finds a difference."""

    def __init__(self, client: "redis.Redis", redis_url: str) -> None:
        client.flushall()
        self.client = client
        self.engine = Engine(redis_url, Lane(), TIMEOUT_MS)
        self.model = Model(default_timeout=TIMEOUT_MS)
        # Records that a log worker has taken off the list.
        self.stored = 0
        self.logs: dict[Place, list[Any]] = {place: [] for place in PLACES}
        self.baselines: dict[int, Counter[Any]] = {}
        self.known: dict[int, Known] = {}
        # The board as it must be, and from which offset on it was not compared yet.
        self.board: dict[Place, bytearray] = {place: bytearray() for place in PLACES}
        self._boarded: dict[Place, int] = dict.fromkeys(PLACES, 0)
        self._compared = 0
        # Script calls; how often losers travelled as counts, and had to travel again.
        self.calls = self.counted = self.stale = 0

    def decide(self, place: Place, shift: int, more: list[Any], cuts: list[int]) -> None:
        """A consumer that starts at the position, before it (again), or wrongly behind it."""
        log = self.logs[place]
        more = [ask.wish() if isinstance(ask, Ask) else ask for ask in more]
        start = max(0, self.model.positions.get(place, 0) + shift)
        end = start + len(more)
        log += more[max(0, len(log) - start) :] if len(log) >= start else [HOLE, *more]
        assert len(log) >= end
        parts = sorted({start, end, *(start + cut for cut in cuts if start + cut < end)})
        batches, contents = [], []
        for low, high in pairwise(parts):
            contents.append([(at, log[at]) for at in range(low, high) if log[at] != HOLE])
            batches.append(_batch(place, low, high, contents[-1]))
            # A batch ends with its last message: what is missing after it is known by the next.
            if contents[-1] and batches[-1].end < high:
                contents.append([])
                batches.append(_batch(place, batches[-1].end, high, []))
        if len(batches) == 1 and contents[0]:
            # As consumers send it: certain losers as counts.
            batches = [_batch(place, batches[0].start, batches[0].end, contents[0], self.known)]
        replies = self.engine.decide(batches)
        self.calls += len(batches)
        if replies[0].status is Status.STALE:
            self.stale += 1
            replies = self.engine.decide([batches[0].whole()])
            batches = [batches[0].whole()]
        fenced = False
        for batch, messages, reply in zip(batches, contents, replies, strict=True):
            if fenced:
                assert reply.status is Status.FENCED
                continue
            status, outcomes = self.model.decide(
                place, batch.start, batch.end, messages, reply.now_ms
            )
            assert reply.status is status
            counted = [bool(batch.losers) and self._lost(wish) for _, wish in messages]
            self.counted += sum(counted)
            assert [OUTCOME_OF_DIGIT.get(byte) for byte in reply.outcomes] == [
                outcome for outcome, lost in zip(outcomes, counted, strict=False) if not lost
            ]
            if status is Status.DECIDED:
                self._note_board(place, messages, outcomes, counted)
            if status is not Status.NOT_LOADED:
                assert reply.position == self.model.positions.get(place, 0)
            fenced = status is Status.REWOUND
        for reply in replies:
            self.known.update(reply.known)
        if fenced:
            token = new_token()
            assert fence(self.client, Lane(), RECOVERING, "in a test", token=token, replace=True)
            assert lift(self.client, Lane(), token)

    def _note_board(
        self,
        place: Place,
        messages: list[tuple[int, Wish | None]],
        outcomes: list[Outcome | None],
        counted: list[bool],
    ) -> None:
        """What the board has of a batch: counted losers are told apart only where they are
        alike.
        """
        lost = [(w, o) for (_, w), o, c in zip(messages, outcomes, counted, strict=True) if c]
        alike = len({wish.activity for wish, _ in lost if wish}) == 1
        alike = alike and all(outcome is not Outcome.EXPIRED for _, outcome in lost)
        board = self.board[place]
        for (offset, _), outcome, was_counted in zip(messages, outcomes, counted, strict=True):
            if outcome is None:
                continue
            board.extend(bytes(max(0, offset + 1 - len(board))))
            board[offset] = digit_of(outcome) if not was_counted or alike else ord("L")
            self._boarded[place] = min(self._boarded[place], offset)

    def _lost(self, wish: Wish | None) -> bool:
        """Whether a request travelled as a count."""
        told = self.known.get(wish.activity) if wish else None
        return told is not None and (told.over or told.gone.issuperset(wish.items))  # type: ignore[union-attr]

    def compare(self) -> None:
        """Stock, counters, positions, records, buyers."""
        lane, model = read_lane(self.client, Lane()), self.model
        assert lane.loaded == bool(model.sales)
        assert lane.fence is None
        assert lane.positions == {
            position_field(*place): offset for place, offset in model.positions.items()
        }
        assert (lane.invalid, lane.no_such_activity, lane.skipped) == tuple(
            model.lane[name] for name in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY, "skipped")
        )
        waiting = model.records[self.stored :]
        assert lane.waiting == len(waiting)
        # What is new since the last look, and the oldest. The order of the members counts too: the
        # original's seven come first.
        fresh = min(len(waiting), len(model.records) - self._compared)
        self._compared = len(model.records)
        limited = [a for a, sale in model.sales.items() if sale.limit != FOREVER]
        pipe = self.client.pipeline(transaction=False)
        pipe.lrange(Lane().list, 0, fresh)
        pipe.lrange(Lane().list, -1, -1)
        for place, first in self._boarded.items():
            pipe.getrange(Lane().board(*place, 0), first, -1)
        for activity in limited:
            pipe.hgetall(Lane().activity(activity).buyers)
        for activity in model.sales:
            pipe.hkeys(Lane().activity(activity).clicks)
        newest, oldest, *more = pipe.execute()
        boards, more = more[: len(PLACES)], more[len(PLACES) :]
        buyers, clicks = more[: len(limited)], more[len(limited) :]
        for (place, first), found in zip(self._boarded.items(), boards, strict=True):
            assert found == bytes(self.board[place][first:])
            self._boarded[place] = len(self.board[place])
        assert [list(json.loads(record).items()) for record in newest + oldest] == [
            list(record.items()) for record in waiting[::-1][: fresh + 1] + waiting[:1]
        ]
        assert lane.activities.keys() == model.sales.keys()
        for activity, status in lane.activities.items():
            sale = model.sales[activity]
            assert {i: s.left for i, s in status.items.items()} == sale.stock
            assert {i: s.loaded for i, s in status.items.items()} == sale.loaded
            assert (status.over, status.version) == (sale.over, sale.version)
            assert (status.hold_s, status.epoch) == (sale.hold, sale.epoch)
            counted: Counter[Any] = Counter(status.total_outcomes)
            counted.update(units=status.total_units, records=status.total_records)
            counted["expired_with_stock"] = sale.counters["expired_with_stock"]
            assert +counted == +sale.counters
            since = sale.counters - self.baselines[activity]
            assert +Counter(status.outcomes) == Counter(
                {name: since[name] for name in Outcome if since[name]}
            )
            assert status.expired_with_stock == since["expired_with_stock"]
            assert status.total_latency.buckets == histogram(sale.costs).buckets
        for activity, bought in zip(limited, buyers, strict=True):
            assert bought.pop(MARK) == b"1"
            counted_buyers = {int(user): int(units) for user, units in bought.items()}
            assert counted_buyers == dict(+model.sales[activity].buyers)
        for sale, fields in zip(model.sales.values(), clicks, strict=True):
            assert set(fields) - {MARK} == {click_field(*c).encode() for c in sale.clicks}

    def some(self, number: int) -> tuple[int, ModelSale]:
        """One of the activities that are loaded."""
        known = list(self.model.sales.items())
        return known[number % len(known)]

    def acted(self, sale: ModelSale, version: int) -> None:
        """An act counts the version up."""
        assert version > sale.version
        sale.version = version


def _batch(
    place: Place,
    start: int,
    end: int,
    messages: list[tuple[int, Wish | None]],
    known: Mapping[int, Known] = NOTHING_KNOWN,
) -> Batch:
    if not messages:
        return skip(*place, start, end)
    offsets = [offset for offset, _ in messages]
    return encode(*place, start, offsets, [_value(wish) for _, wish in messages], known=known)


def _value(wish: Wish | None) -> bytes:
    if wish is None:
        return json.dumps({"user_id": 0}).encode()
    more: dict[str, Any] = {} if wish.activity == 1 else {"activity_id": wish.activity}
    if wish.request_id is not None:
        more["request_id"] = wish.request_id
    return body(wish.user, wish.items, wish.at, **more)
