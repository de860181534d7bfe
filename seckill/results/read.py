"""What became of requests, by their place in Kafka or by their own id.

Owns the answer: waiting, accepted, refused or unknown. Never a "no" to who has an order: what
stands in PostgreSQL comes before what Redis says. Order of reading: rows' ends, positions, board,
list, rows. Each is read after what it would explain, so a request that moves on is found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import redis

from seckill.formats.advice import in_lane
from seckill.formats.outcomes import OUTCOME_OF_DIGIT, Outcome
from seckill.lane import board
from seckill.lane.client import redis_errors
from seckill.lane.keys import BOARD_STRING, Lane, position_field
from seckill.lane.status import LaneStatus, read_lane
from seckill.results import lines
from seckill.results.lines import Line, Place
from seckill.results.trust import doubt, ends

WAITING, ACCEPTED, REFUSED, UNKNOWN = "waiting", "accepted", "refused", "unknown"
NOT_YET = "not decided yet, or not sent: Kafka is not asked"
LATE = "it came when nothing was left; its own reason was not kept"
LOST = "it was decided before a loss of Redis, and it has no order"
NOTHING_THERE = "no request was decided at this offset: Kafka holds none there, or it was skipped"
NO_ORDER = "no order has this request id: it waits, was refused, or was never sent"
OVERLAP = "it was decided on a Redis that did not lead; see manage.py dead_letters list"


@dataclass
class Result:
    """What became of a request. `why` is for people, where the state does not say it all."""

    state: str
    outcome: Outcome | None = None
    why: str = ""
    orders: list[Line] = field(default_factory=list)


@dataclass
class Results:
    """The answers, in the order of the questions."""

    places: list[Result]
    requests: list[Result]


class Reader:
    """The lane as it was at one moment, for one call. All methods raise RedisAway, PostgresAway."""

    def __init__(self, client: "redis.Redis", lane: Lane) -> None:
        self._client, self._lane = client, lane
        stored = ends(lane)
        self._status: LaneStatus = read_lane(client, lane)
        self._doubt = doubt(self._status, lane, stored)
        self.sources = sorted(
            {name.rpartition(":")[0] for name in (*stored, *self._status.positions)}
        )

    def read(self, places: Sequence[Place], requests: Sequence[str]) -> Results:
        """The results of the requests at these places, and of those with these ids."""
        bytes_there = self._board(places)
        found, overlaps, unread = self._lines(places, requests, bytes_there)
        by_place: dict[Place, list[Line]] = {}
        by_request: dict[str | None, list[Line]] = {}
        for line in found:
            by_place.setdefault(line.place, []).append(line)
            by_request.setdefault(line.request_id, []).append(line)
        return Results(
            [
                self._result(place, byte, by_place.get(place, []), place in overlaps, unread)
                for place, byte in zip(places, bytes_there, strict=True)
            ],
            [
                Result(ACCEPTED, Outcome.ACCEPTED, orders=by_request[name])
                if name in by_request
                else Result(UNKNOWN, why=f"{NO_ORDER}. {unread}" if unread else NO_ORDER)
                for name in requests
            ],
        )

    def _board(self, places: Sequence[Place]) -> list[int]:
        """The board's byte of each place; 0 for none."""
        if not places:
            return []
        pipe = self._client.pipeline(transaction=False)
        for source, partition, offset in places:
            number, index = divmod(offset, BOARD_STRING)
            pipe.getrange(self._lane.board(source, partition, number), index, index)
        with redis_errors():
            return [found[0] if found else 0 for found in pipe.execute()]

    def _lines(
        self, places: Sequence[Place], requests: Sequence[str], bytes_there: Sequence[int]
    ) -> tuple[list[Line], set[Place], str]:
        """The lines; places whose decision does not count; and why the list was not read, or ""."""
        asked, ids = set(places), set(requests)
        unread = ""
        found: list[Line] = []
        if ids or any(map(self._may_wait, places, bytes_there)):
            with redis_errors():
                length = int(self._client.llen(self._lane.list))
            if length > lines.LONGEST_LIST:
                unread = f"{length} records wait in Redis, too many to be read for a question"
            else:
                found += lines.in_list(self._client, self._lane, asked, ids)
        found += lines.stored(asked, ids)
        dead = list(lines.parked(asked))
        found += (line for line in dead if isinstance(line, Line))
        missing = ids - {line.request_id for line in found}
        if missing:
            found += lines.parked_requests(missing)
        return (
            self._settled(_once(found)),
            {place for place in dead if not isinstance(place, Line)},
            unread,
        )

    def _settled(self, found: list[Line]) -> list[Line]:
        """The same, with what the board says of holds whose settlement is not stored yet."""
        held = {line.place for line in found if line.hold == lines.HELD}
        if self._doubt or not held:
            return found
        ended = {
            place: board.KIND_OF.get(byte, lines.HELD)
            for place, byte in zip(held, self._board(list(held)), strict=True)
        }
        return [replace(line, hold=ended.get(line.place, line.hold)) for line in found]

    def _may_wait(self, place: Place, byte: int) -> bool:
        """Whether the list may hold a record of a place: it is not refused, nor stored for sure."""
        source, partition, offset = place
        stored = self._status.stored.get(position_field(source, partition), 0)
        return (byte == 0 or byte in board.WINNERS) and offset + 1 >= stored

    def _result(
        self, place: Place, byte: int, orders: list[Line], overlaps: bool, unread: str
    ) -> Result:
        if orders:
            why = unread if self._may_wait(place, byte) else ""
            return Result(ACCEPTED, Outcome.ACCEPTED, why, orders)
        if overlaps:
            return Result(UNKNOWN, why=in_lane(OVERLAP, self._lane.name))
        if self._doubt:
            return Result(UNKNOWN, why=self._doubt)
        if byte in board.WINNERS:
            return Result(ACCEPTED, Outcome.ACCEPTED, why=unread)
        if byte == board.REFUSED_UNKNOWN:
            return Result(UNKNOWN, why=LOST)
        if byte:
            outcome = OUTCOME_OF_DIGIT.get(byte)
            return Result(REFUSED, outcome, why="" if outcome else LATE)
        source, partition, offset = place
        if offset >= self._status.positions.get(position_field(source, partition), 0):
            return Result(WAITING, why=NOT_YET)
        return Result(UNKNOWN, why=NOTHING_THERE)


def _once(found: Iterable[Line]) -> list[Line]:
    """Each line once: the row, if it is stored as well as listed or parked."""
    rank = {"stored": 0, "waiting": 1, "parked": 2}
    best: dict[tuple[Place, int], Line] = {}
    for line in sorted(found, key=lambda line: rank[line.where]):
        best.setdefault((line.place, line.item_id), line)
    return list(best.values())
