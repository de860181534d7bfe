"""Batches: messages of one partition, decoded, and packed for `decide_batch.lua`.

Owns the packed format. A request that is certain to lose is sent as part of a count. An item that
was sold out at some version and epoch stays sold out as long as both stay: every act increments the
version, and units that come back without an act increment the epoch. The script checks both.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from seckill.dead_letters.letter import Invalid
from seckill.errors import Poison
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.formats.request import Request, decode_all
from seckill.lane.keys import BOARD_STRING

# A packed entry above this is COUNTED plus a number of requests that are sent as counts.
COUNTED = 1000

_pack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Known:
    """What the script reported of an activity: at this version and epoch these items are sold
    out.
    """

    version: int
    over: bool
    gone: frozenset[int]
    epoch: int = 0


NOTHING_KNOWN: Mapping[int, Known] = {}
NOTHING_GONE: frozenset[int] = frozenset()
NO_TRACES: Mapping[int, str] = {}


@dataclass(slots=True, eq=False)
class Batch:
    """Offsets `start` to `end` - 1 of one partition, packed for the script.

    `generation` is the lane's when the consumer got `start`. `messages` is kept if losers are sent
    as counts, because the script may ask for the whole batch.
    """

    source: str
    partition: int
    start: int
    end: int
    blob: bytes
    activities: list[int]
    requests: int
    invalid: list[Invalid] = field(default_factory=list)
    losers: bytes = b""
    generation: int = 0
    # Numbers of the board's strings that the batch writes to: offset div BOARD_STRING.
    boards: Sequence[int] = ()
    messages: tuple[Sequence[int], Sequence[bytes | None]] | None = None
    # {offset: traceparent} of the traced requests.
    traces: Mapping[int, str] = field(default_factory=dict)

    def whole(self) -> "Batch":
        """The same offsets, with every request packed in full."""
        if self.messages is None:
            return self
        offsets, values = self.messages
        return encode(
            self.source,
            self.partition,
            self.start,
            offsets,
            values,
            generation=self.generation,
            traces=self.traces,
        )


def encode(
    source: str,
    partition: int,
    start: int,
    offsets: Sequence[int],
    values: Sequence[bytes | None],
    *,
    generation: int = 0,
    known: Mapping[int, Known] = NOTHING_KNOWN,
    traces: Mapping[int, str] = NO_TRACES,
) -> Batch:
    """Pack messages as one batch. Their offsets ascend, and the first is at `start` or later.

    Missing offsets from `start` to the last one become holes, which the script counts.
    """
    requests, plain = decode_all(values)
    if plain and not traces and offsets[-1] - start == len(offsets) - 1:
        packing = _plain(requests, known.get(DEFAULT_ACTIVITY))  # type: ignore[arg-type]
    else:
        packing = _any(start, offsets, values, requests, known, traces)
    lost = packing.lost
    return Batch(
        source=source,
        partition=partition,
        start=start,
        end=offsets[-1] + 1,
        blob=_pack(packing.flat),
        losers=_pack(_counts(lost, packing.activities, known)) if lost else b"",
        activities=list(packing.activities),
        requests=len(values),
        invalid=packing.invalid,
        generation=generation,
        boards=_boards(offsets),
        messages=(offsets, values) if lost else None,
        traces={at: traces[at] for at in offsets if at in traces} if traces else NO_TRACES,
    )


@dataclass(slots=True)
class _Packing:
    """Packed requests in the format of the script's header, and what belongs to them.

    `activities` maps ids to their indexes. `lost` has the times of certain losers by activity.
    """

    flat: list[int | str | tuple[str, str]] = field(default_factory=list)
    activities: dict[int, int] = field(default_factory=dict)
    lost: dict[int, list[int]] = field(default_factory=dict)
    invalid: list[Invalid] = field(default_factory=list)


def _plain(requests: Sequence[Request], told: Known | None) -> _Packing:
    """Plain requests without a gap. Nearly all requests are plain, so they have a fast path."""
    if told is not None and told.over:
        times = [request.request_initiation_time for request in requests]
        return _Packing([COUNTED + len(requests)], {DEFAULT_ACTIVITY: 1}, {DEFAULT_ACTIVITY: times})
    gone = told.gone if told is not None else NOTHING_GONE
    flat: list[int | str | tuple[str, str]] = []
    times = []
    counted = 0
    for request in requests:
        items = request.items
        if gone.issuperset(items):
            times.append(request.request_initiation_time)
            counted += 1
            continue
        if counted:
            flat.append(COUNTED + counted)
            counted = 0
        flat += (len(items), 1, str(request.user_id), request.request_initiation_time, "")
        for item, quantity in items.items():
            flat += (str(item), quantity)
    if counted:
        flat.append(COUNTED + counted)
    return _Packing(flat, {DEFAULT_ACTIVITY: 1}, {DEFAULT_ACTIVITY: times} if times else {})


def _any(
    start: int,
    offsets: Sequence[int],
    values: Sequence[bytes | None],
    requests: Sequence[Request | Poison],
    known: Mapping[int, Known],
    traces: Mapping[int, str],
) -> _Packing:
    """Any messages: with gaps, several activities, ids, traces, or invalid ones."""
    packing = _Packing()
    flat, activities, lost = packing.flat, packing.activities, packing.lost
    expected = start
    counted = 0
    for offset, value, request in zip(offsets, values, requests, strict=True):
        lost_here = None
        if known and type(request) is Request:
            told = known.get(request.activity_id or DEFAULT_ACTIVITY)
            if told is not None and (told.over or told.gone.issuperset(request.items)):
                lost_here = request
        if counted and (lost_here is None or offset != expected):
            flat.append(COUNTED + counted)
            counted = 0
        if offset != expected:
            flat.append(expected - offset)
        expected = offset + 1
        if lost_here is not None:
            times = lost.setdefault(lost_here.activity_id or DEFAULT_ACTIVITY, [])
            times.append(lost_here.request_initiation_time)
            counted += 1
        elif type(request) is Request:
            activity = request.activity_id or DEFAULT_ACTIVITY
            index = activities.get(activity)
            if index is None:
                index = activities[activity] = len(activities) + 1
            id_text = _to_json(request.request_id).decode() if request.request_id else ""
            traced = traces and offset in traces
            request_id = (id_text, traces[offset]) if traced else id_text
            items = request.items
            flat += (
                len(items),
                index,
                str(request.user_id),
                request.request_initiation_time,
                request_id,
            )
            for item, quantity in items.items():
                flat += (str(item), quantity)
        else:
            flat.append(0)
            packing.invalid.append(Invalid(offset, value, str(request)))
    if counted:
        flat.append(COUNTED + counted)
    return packing


def _boards(offsets: Sequence[int]) -> Sequence[int]:
    """The numbers of the board's strings that contain these offsets."""
    first, last = offsets[0] // BOARD_STRING, offsets[-1] // BOARD_STRING
    if last - first <= 1:
        return range(first, last + 1)
    return sorted({offset // BOARD_STRING for offset in offsets})


def skip(source: str, partition: int, start: int, end: int, generation: int = 0) -> Batch:
    """A batch that decides nothing and moves the position: its offsets count as skipped."""
    return Batch(source, partition, start, end, _pack([start - end]), [], 0, generation=generation)


def _counts(
    lost: Mapping[int, Sequence[int]], activities: dict[int, int], known: Mapping[int, Known]
) -> list[int]:
    """The certain losers in the format of the script's header; adds their activities' indexes."""
    flat: list[int] = []
    for activity, times in lost.items():
        index = activities.setdefault(activity, len(activities) + 1)
        groups = Counter(times)
        told = known[activity]
        flat += (index, told.version, told.epoch, len(groups))
        flat += chain.from_iterable(groups.items())
    return flat
