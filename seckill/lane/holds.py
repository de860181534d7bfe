"""Holds: an accepted request of an activity with `hold_s`, until it is paid, given back or expired.

Owns the calls of settle_batch.lua and expire_holds.lua, and what their answers mean. The rules are
in the scripts. Both calls may be repeated, after any error: the script knows what it has done.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import redis

from seckill.lane.clicks import Place, place_of, place_value
from seckill.lane.client import redis_errors, run_script
from seckill.lane.held import BLOCK
from seckill.lane.keys import BOARD_STRING, CONTROL_CHANNEL, ActivityKeys, Lane, position_field

# Holds that may expire in one call of the script: Lua's unpack takes about 8,000 at most.
MOST = 4_000
_PAID, _RELEASED = 1, 2
_to_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


class SettleStatus(IntEnum):
    """What a script did: the numbers of lua/include/batch.lua, which decide_batch has too."""

    DECIDED = 1
    DUPLICATE = 2
    REWOUND = -1
    NOT_LOADED = -2
    MOVED = -3
    FENCED = -5
    CLOCK = -6
    UNSEEN = -7


class SettleOutcome(IntEnum):
    """The one answer to a settle message: its byte in `SettleReply.outcomes`."""

    PAID = ord("P")
    RELEASED = ord("C")
    # Settled before, otherwise: `paid` after it was given back or has expired, or the reverse.
    TOO_LATE = ord("T")
    # Settled before, in the same way.
    REPEATED = ord("9")
    NOT_HELD = ord("N")
    INVALID = ord("8")
    # Not decided: the hold's request is not decided again yet. Ask again from this message on.
    WAIT = ord("W")


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settle message that could be read.

    `paid` False: failed or cancelled, both release. `lost`: Kafka's end of the hold's partition is
    not beyond its offset, or its topic is gone, so that waiting for that request would never end.
    """

    activity_id: int
    user_id: int
    hold: Place
    paid: bool
    reference: str | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class SettleBatch:
    """The offsets `start` to `end` (exclusive) of one partition of the settle topic.

    `messages` are (offset, settlement; None: INVALID) in ascending order. An offset that is not
    among them holds no message. `start` is the position that the settler holds, `generation` the
    lane's in which it got it. At most 65,536 offsets have messages.
    """

    source: str
    partition: int
    start: int
    end: int
    generation: int
    messages: Sequence[tuple[int, Settlement | None]]


@dataclass(frozen=True, slots=True)
class SettleReply:
    """The answer of settle_batch. `position` is the next offset to settle.

    `outcomes`: a SettleOutcome's byte for each message, "." if it was decided before. With a WAIT
    they end with its byte, and `position` is that message. `why`: of FENCED and CLOCK, in words.
    """

    status: SettleStatus
    position: int
    outcomes: bytes = b""
    now_ms: int = 0
    generation: int = 0
    why: str = ""

    @property
    def waiting(self) -> bool:
        """Whether the message at `position` has to wait for the requests."""
        return self.outcomes.endswith(b"W")

    def count(self, outcome: SettleOutcome) -> int:
        """Messages that got this outcome now."""
        return self.outcomes.count(outcome)


@dataclass(frozen=True, slots=True)
class ReadMark:
    """At Redis's time `asked_ms` a settler asked Kafka for the end of a settle partition, then.

    The script takes the mark only if it has settled all before `end`: no need to check that first.
    """

    asked_ms: int
    end: int


@dataclass(frozen=True, slots=True)
class ExpireReply:
    """The answer of expire_holds.

    `full`: as many expired as one call may, so that more may be waiting. `next_due_ms`: of the
    earliest hold; None: no holds. `why`: of FENCED, in words.
    """

    status: SettleStatus
    expired: int = 0
    next_due_ms: int | None = None
    full: bool = False
    why: str = ""
    now_ms: int = 0


def settle_batch(
    client: "redis.Redis", lane: Lane, batch: SettleBatch, identity: str = "*"
) -> SettleReply:
    """Settle one batch of one partition, exactly once: all up to the first WAIT, or nothing.

    `identity` is the lane's that admitted the settler; "": Redis held none then; "*": any.
    Safe to repeat. Raises RedisAway, RedisRefuses: nothing is known, repeat it.
    """
    activities: dict[int, int] = {}
    boards: dict[str, int] = {}
    flat: list[int | str] = []
    at = batch.start
    for offset, message in batch.messages:
        if offset > at:
            flat.append(at - offset)
        at = offset + 1
        if message is None:
            flat.append(0)
            continue
        hold = message.hold
        board = lane.board(hold.source, hold.partition, hold.offset // BOARD_STRING)
        flat += (
            1,
            activities.setdefault(message.activity_id, len(activities) + 1),
            str(message.user_id),
            place_value(hold.source, hold.partition, hold.offset),
            boards.setdefault(board, len(boards) + 1),
            _PAID if message.paid else _RELEASED,
            "" if message.reference is None else _to_json(message.reference).decode(),
            int(message.lost),
        )
    if batch.end > at:
        flat.append(at - batch.end)
    keys = [lane.list, lane.activities, lane.settle_positions, lane.settle_stats, lane.state]
    keys.append(lane.positions)
    for activity_id in activities:
        keys += _keys_of(lane.activity(activity_id))
    args: list[str | int | bytes] = [
        position_field(batch.source, batch.partition),
        batch.start,
        batch.end,
        batch.generation,
        f'"{batch.source}",{batch.partition}',
        identity,
        time.time_ns() // 1_000_000,
        CONTROL_CHANNEL,
        _pack(flat),
        *activities,
    ]
    status, position, text, now_ms, generation = run_script(
        client, "settle_batch", [*keys, *boards], args
    )
    told_why = status in (SettleStatus.FENCED, SettleStatus.CLOCK)
    return SettleReply(
        SettleStatus(status),
        int(position),
        b"" if told_why else text,
        int(now_ms),
        int(generation),
        text.decode() if told_why else "",
    )


def expire_holds(
    client: "redis.Redis",
    lane: Lane,
    activity_id: int,
    partitions: Sequence[tuple[str, int]],
    marks: Mapping[tuple[str, int], ReadMark],
    *,
    generation: int,
    identity: str = "*",
    grace_ms: int = 1000,
    expired_gives_back: bool = False,
    most: int = 1000,
) -> ExpireReply:
    """Expire the holds of one activity that are due and that no confirm in Kafka can save any more.

    `partitions` are all (source, partition) of the settle topic: nothing expires until each of them
    has a mark. `marks` are the new ones of the caller's own partitions; with several activities,
    pass them with each, or with the first. `most` holds expire in one call. `expired_gives_back`:
    whether units of an expired hold count against the user's limit no more.
    Statuses: DECIDED, NOT_LOADED (this activity), FENCED, MOVED (another generation), UNSEEN.
    Safe to repeat. Raises RedisAway, RedisRefuses.
    """
    names = lane.activity(activity_id)
    most = min(most, MOST)
    boards: dict[str, str] = {}
    for block in _due_now(client, names, most):
        number = block.offset * BLOCK // BOARD_STRING
        name = f"{position_field(block.source, block.partition)}:{number}"
        boards[name] = lane.board(block.source, block.partition, number)
    keys = [lane.list, lane.activities, lane.settle_positions, lane.settle_read, lane.state]
    args: list[str | int | bytes] = [
        activity_id,
        generation,
        identity,
        CONTROL_CHANNEL,
        grace_ms,
        most,
        "1" if expired_gives_back else "0",
        _pack([position_field(*place) for place in partitions]),
        _pack(
            [
                part
                for place, mark in marks.items()
                for part in (position_field(*place), mark.asked_ms, mark.end)
            ]
        ),
        *boards,
    ]
    status, expired, why, now_ms, _, *rest = run_script(
        client, "expire_holds", [*keys, *_keys_of(names), *boards.values()], args
    )
    if status != SettleStatus.DECIDED:
        return ExpireReply(SettleStatus(status), why=why.decode())
    [next_due] = rest
    return ExpireReply(
        SettleStatus.DECIDED,
        expired,
        int(next_due) if next_due else None,
        full=expired == most,
        now_ms=int(now_ms),
    )


def _keys_of(names: ActivityKeys) -> list[str]:
    """What both scripts need of an activity, in the order of lua/include/holds.lua."""
    return [names.state, names.stock, names.stats, names.buyers, names.held, names.due]


def _due_now(client: "redis.Redis", names: ActivityKeys, most: int) -> list[Place]:
    """The first blocks with holds that are due: the script needs the keys of their bytes on the
    board. An offset is a block's number.
    """
    with redis_errors():
        seconds, micros = client.time()
        now_ms = seconds * 1000 + micros // 1000
        due: list[bytes] = client.zrangebyscore(  # type: ignore[assignment]
            names.due, "-inf", now_ms, start=0, num=most
        )
    return [place for value in due if (place := place_of(value))]
