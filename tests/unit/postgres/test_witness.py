"""What Redis says of a lane, against what PostgreSQL has seen of it: each difference in words."""

from dataclasses import replace
from typing import Any

import pytest

from seckill.lane.status import ActivityStatus, LaneStatus
from seckill.postgres.lease import (
    Claim,
    ForeignLane,
    LaneLost,
    LaneRow,
    PostgresOlder,
    RedisOlder,
    claim_of,
    compare,
)
from seckill.postgres.witness import Steered, differing, lost_acts, undecided
from tests.helpers.figures import activity

# An activity that was steered up to version 5, and the same in PostgreSQL.
NOW = replace(
    activity(), version=5, opens_at_ms=1_000, closes_at_ms=2_000, user_limit=3, timeout_ms=400
)
ACT = Steered(
    paused=False, finished=False, opens_at=1_000, closes_at=2_000, user_limit=3, timeout=400,
    version=5,
)  # fmt: skip
ROW = LaneRow("ours", generation=4, master="a server", term=7)
OURS = Claim("ours", 4, 7)


def lane(activities: dict[int, ActivityStatus], **positions: int) -> LaneStatus:
    return LaneStatus(
        loaded=True, activities=activities, invalid=0, no_such_activity=0, skipped=0,
        positions={name.replace("_", ":"): at for name, at in positions.items()}, waiting=0, dead=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (4, ""),
        (5, ""),
        (6, "partition 1 stands at 5, PostgreSQL has stored up to 6"),
    ],
)
def test_a_position_before_the_end_of_stored_records(end: int, why: str) -> None:
    assert undecided(lane({}, s_0=9, s_1=5).positions, {"s:0": 9, "s:1": end}) == why


def test_a_partition_without_a_position_stands_at_nought() -> None:
    assert undecided(lane({}).positions, {"s:12": 0}) == ""
    stands = "partition 12 stands at 0, PostgreSQL has stored up to 1"
    assert undecided(lane({}).positions, {"s:12": 1}) == stands


@pytest.mark.parametrize(
    ("redis", "postgres", "why"),
    [
        ({}, {}, ""),
        ({"paused": True}, {}, "paused is true in Redis, false in PostgreSQL"),
        ({"over": "finished"}, {}, "finished is true in Redis, false in PostgreSQL"),
        ({"over": "sold_out"}, {}, ""),
        ({"over": "finished"}, {"finished": True}, ""),
        ({"opens_at_ms": None}, {}, "opens_at is none in Redis, 1000 in PostgreSQL"),
        ({}, {"closes_at": 2_001}, "closes_at is 2000 in Redis, 2001 in PostgreSQL"),
        ({}, {"user_limit": None}, "limit per user is 3 in Redis, none in PostgreSQL"),
        ({"timeout_ms": 0}, {}, "timeout is 0 in Redis, 400 in PostgreSQL"),
    ],
)
def test_a_field_that_differs(redis: dict[str, Any], postgres: dict[str, Any], why: str) -> None:
    now, act = replace(NOW, **redis), replace(ACT, **postgres)
    assert differing(now, act) == why
    told = f"activity 1, version 5: {why}" if why else ""
    assert lost_acts(lane({1: now}), {1: act}) == told


def test_an_act_that_redis_does_not_know() -> None:
    later = replace(ACT, version=6)
    told = "activity 1 is at version 5, the journal has acts up to version 6"
    assert lost_acts(lane({1: NOW}), {1: later}) == told


def test_an_act_that_is_not_in_the_journal_yet_is_none() -> None:
    """It is done in Redis first: what differs is that act."""
    before = replace(ACT, version=4, paused=True)
    assert lost_acts(lane({1: NOW}), {1: before}) == ""


def test_an_activity_that_is_gone_and_the_others() -> None:
    told = "activity 2 was put on sale, and Redis does not hold it"
    assert lost_acts(lane({}), {1: replace(ACT, version=0), 2: ACT}) == told
    told = "activity 3 is at version 5, the journal has acts up to version 9"
    acts = {2: replace(ACT, version=0), 1: ACT, 3: replace(ACT, version=9)}
    assert lost_acts(lane({1: NOW, 3: NOW}), acts) == told


@pytest.mark.parametrize(
    ("row", "claim", "error", "words"),
    [
        (None, Claim(), None, ""),
        (None, OURS, PostgresOlder, "it does not know lane ours"),
        (ROW, OURS, None, ""),
        (ROW, Claim("ours", 4, 6), None, ""),
        (ROW, Claim("", 0, 0, empty=True), LaneLost, "it is empty"),
        (ROW, Claim("", 4, 7), LaneLost, "it holds a sale without an identity"),
        (ROW, Claim("theirs", 4, 7), ForeignLane, "Redis has theirs, PostgreSQL has ours"),
        (ROW, Claim("ours", 5, 7), PostgresOlder, "Redis is in generation 5, term 7; PostgreSQL"),
        (ROW, Claim("ours", 4, 8), PostgresOlder, "Redis is in generation 4, term 8; PostgreSQL"),
        (ROW, Claim("ours", 3, 8), PostgresOlder, "knows generation 4, term 7"),
        (ROW, Claim("ours", 3, 7), RedisOlder, "it is in generation 3, the lane was rebuilt up to"),
    ],
)
def test_of_one_lane_and_neither_older(
    row: LaneRow | None, claim: Claim, error: type[Exception] | None, words: str
) -> None:
    if error is None:
        compare(row, claim)
    else:
        with pytest.raises(error, match=words):
            compare(row, claim)


def test_a_claim_as_redis_has_it() -> None:
    assert claim_of([b"ours", b"4", b"7"]) == OURS
    assert claim_of([None, None, None], empty=True) == Claim("", 0, 0, empty=True)
