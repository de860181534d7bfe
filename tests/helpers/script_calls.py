"""A call of each script, with the keys that it needs."""

from dataclasses import dataclass
from typing import Any

import msgspec

from seckill.lane.keys import CONTROL_CHANNEL, Lane

LANE = Lane()


KEYS = LANE.activity(1)


TOKEN = "t"


ACT = [LANE.activities, LANE.state, KEYS.state]


TURN = [1, CONTROL_CHANNEL, "olga", "", 0]


PLAN = msgspec.msgpack.encode(
    [
        ["s:0", "1"],
        "0",
        [["1", "1", ["version", "2"], ["7", 1], ["7", 1], ["1", 0], TOKEN, TOKEN, TOKEN]],
        [],
        [],
        ["t:0", "1"],
        ["paid", "1"],
    ]
)


BOARD = LANE.board("s", 0, 0)


# Two blocks with a hold of one unit that is due since long, and one of the second that is not.
LATER = ";1|99999999999999|7|1001:1"
HOLDS = {"s:0:0": ";0|1|7|1001:1", "s:0:1": ";0|1|7|1001:1" + LATER}


SETTLED = [KEYS.state, KEYS.stock, KEYS.stats, KEYS.buyers, KEYS.held, KEYS.due]


MESSAGES = msgspec.msgpack.encode(
    [part for place in ("s:0:0", "s:0:16") for part in (1, 1, "7", place, 1, 2, "", 0)]
)


@dataclass(frozen=True)
class Call:
    """A call of a script that writes, and the commands that it needs. `lost` keys are not there."""

    script: str
    needs: str
    keys: list[str]
    args: list[Any]
    lost: tuple[str, ...] = ()


CALLS = [
    Call("add_stock", "hset hdel", [*ACT, KEYS.stock, KEYS.loaded], [*TURN, 1001, 1]),
    Call(
        "set_stock", "hset hdel sadd", [*ACT, KEYS.stock, KEYS.loaded, KEYS.stats],
        [*TURN, 1001, 1],
    ),
    Call("take_stock", "hset hdel", [*ACT, KEYS.stock, KEYS.loaded], [*TURN, 1001, 1]),
    Call("split", "hset hdel", [*ACT, KEYS.stats], [*TURN, 2]),
    Call("sync", "hset hdel sadd", [*ACT, KEYS.stock, KEYS.loaded], [*TURN, 1001, 9, 0, 0]),
    Call("pause", "hset hdel", ACT, [*TURN, "pause"]),
    Call("pause", "hset hdel", ACT, [*TURN, "resume"]),
    Call("finish", "hset hdel", ACT, TURN),
    Call("reopen", "hset hdel", [*ACT, KEYS.stock], TURN),
    Call(
        "configure", "hset hdel unlink rename",
        [*ACT, KEYS.buyers, LANE.positions, KEYS.new_buyers],
        [*TURN, "count", TOKEN, "user_limit", 5],
    ),
    Call(
        "load_state", "hset unlink rename",
        [
            *(KEYS.state, KEYS.stats, KEYS.buyers, LANE.stats, LANE.activities),
            *(KEYS.new_buyers, LANE.state, KEYS.clicks, KEYS.new_clicks),
        ],
        [1, 1, 1, 0, 1, TOKEN, TOKEN, "timeout", 5],
        (LANE.activities, LANE.state),
    ),
    Call("stage_hash", "hset unlink", [KEYS.new_buyers], [TOKEN, "1", 7, 2]),
    Call("trim_batch", "hset ltrim", [LANE.list, LANE.state, LANE.stored],
         [1, "record", "record", "0", "3", "s:0", 1]),
    Call("replay_dead", "lpush", [LANE.list, LANE.state], ["again"], (LANE.state,)),
    Call(
        "archive", "del sadd hset unlink",
        [
            *(LANE.activities, LANE.stats, LANE.state),
            *(KEYS.state, KEYS.stock, KEYS.loaded, KEYS.stats, KEYS.buyers, KEYS.new_buyers),
            *(KEYS.clicks, KEYS.new_clicks, KEYS.held, KEYS.due),
        ],
        [1, "1", 1],
    ),
    Call("claim_lane", "hset", [LANE.state], ["id", 1, 0]),
    Call("fence", "hset hdel", [LANE.state], ["REWOUND", "why", "another", "1", ""]),
    Call("fence", "hset hdel", [LANE.state], ["", "", TOKEN, "0", ""]),
    Call(
        "rebuild", "hset hdel sadd unlink rename",
        [
            *(LANE.activities, LANE.positions, LANE.stats, LANE.state, LANE.stored),
            *(LANE.settle_positions, LANE.settle_stats, LANE.settle_read),
            *(KEYS.state, KEYS.stock, KEYS.loaded, KEYS.stats, KEYS.buyers, KEYS.new_buyers),
            *(KEYS.clicks, KEYS.new_clicks),
            *(KEYS.held, KEYS.new_held, KEYS.due, KEYS.new_due),
        ],
        [TOKEN, PLAN],
    ),
    Call(
        "stage_holds", "hset unlink zadd", [KEYS.new_held, KEYS.new_due],
        [TOKEN, "1", "s:0:1", 9, ";0|9|7|1001:1"],
    ),
    Call(
        "settle_batch", "hset hdel zrem zadd lpush setrange",
        [
            *(LANE.list, LANE.activities, LANE.settle_positions, LANE.settle_stats, LANE.state),
            *(LANE.positions, *SETTLED, BOARD),
        ],
        ["t:0", 0, 2, 0, '"t",0', "*", "", CONTROL_CHANNEL, MESSAGES, 1],
    ),
    Call(
        "expire_holds", "hset hdel zrem zadd lpush setrange",
        [
            *(LANE.list, LANE.activities, LANE.settle_positions, LANE.settle_read, LANE.state),
            *(*SETTLED, BOARD),
        ],
        [
            *(1, 0, "*", CONTROL_CHANNEL, 0, 9, "1", msgspec.msgpack.encode(["t:0"])),
            *(msgspec.msgpack.encode(["t:0", 10**12, 0]), "s:0:0"),
        ],
    ),
]  # fmt: skip
