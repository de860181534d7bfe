"""The small scripts of a lane, each by itself: what it answers, and what it leaves behind."""

from typing import Any

import pytest
import redis

from seckill.lane.client import run_script
from seckill.lane.keys import Lane
from tests.helpers.sale import everything

LANE = Lane()
NEW_BUYERS = LANE.activity(1).new_buyers


def lane(client: "redis.Redis") -> dict[str, str]:
    """The lane's hash."""
    found: dict[bytes, bytes] = client.hgetall(LANE.state)  # type: ignore[assignment]
    return {name.decode(): value.decode() for name, value in found.items()}


class TestClaimLane:
    def claim(self, client: "redis.Redis", identity: str, term: int, generation: int) -> int:
        answer: int = run_script(client, "claim_lane", [LANE.state], [identity, term, generation])
        return answer

    def test_of_a_redis_that_holds_nothing(self, redis_client: "redis.Redis") -> None:
        assert self.claim(redis_client, "ours", 2, 4) == 1
        assert lane(redis_client) == {"identity": "ours", "term": "2", "generation": "4"}

    @pytest.mark.parametrize("term", [2, 3, 10])
    def test_of_its_own_lane_and_no_earlier_term(
        self, redis_client: "redis.Redis", term: int
    ) -> None:
        """Its generation stays: only a recovery counts it."""
        self.claim(redis_client, "ours", 2, 4)
        assert self.claim(redis_client, "ours", term, 7) == 1
        assert lane(redis_client) == {"identity": "ours", "term": str(term), "generation": "4"}

    def test_a_generation_that_was_there_before_the_identity_stays(
        self, redis_client: "redis.Redis"
    ) -> None:
        redis_client.hset(LANE.state, "generation", 9)
        assert self.claim(redis_client, "ours", 1, 4) == 1
        assert lane(redis_client) == {"identity": "ours", "term": "1", "generation": "9"}

    @pytest.mark.parametrize("claim", [("theirs", 3, 4), ("ours", 1, 4), ("theirs", 2, 4)])
    def test_of_another_lane_or_an_earlier_term(
        self, redis_client: "redis.Redis", claim: tuple[str, int, int]
    ) -> None:
        self.claim(redis_client, "ours", 2, 4)
        before = everything(redis_client)
        assert self.claim(redis_client, *claim) == 0
        assert everything(redis_client) == before


class TestTrimBatch:
    """A list of r1 (the oldest) to r4, of which the first two are a batch."""

    @pytest.fixture(autouse=True)
    def _records(self, redis_client: "redis.Redis") -> None:
        redis_client.lpush(LANE.list, "r1", "r2", "r3", "r4")

    def trim(self, client: "redis.Redis", *args: Any) -> list[int]:
        keys = [LANE.list, LANE.state, LANE.stored]
        answer: list[int] = run_script(client, "trim_batch", keys, list(args))
        return answer

    def test_what_is_stored_goes(self, redis_client: "redis.Redis") -> None:
        assert self.trim(redis_client, 2, "r1", "r2", "0", "", "s:0", 7, "s:1", 9) == [1, 2]
        assert redis_client.lrange(LANE.list, 0, -1) == [b"r4", b"r3"]
        assert redis_client.hgetall(LANE.stored) == {b"s:0": b"7", b"s:1": b"9"}
        assert lane(redis_client) == {"trims": "1"}
        assert self.trim(redis_client, 2, "r3", "r4", "1", "5") == [2, 2]
        assert redis_client.llen(LANE.list) == 0
        assert lane(redis_client) == {"trims": "2", "parked": "5"}

    @pytest.mark.parametrize(
        "args",
        [
            # Another tail, another end, another count of trims.
            (2, "r2", "r3", "3", "8", "s:0", 1),
            (3, "r1", "r2", "3", "8", "s:0", 1),
            (2, "r1", "r2", "2", "8", "s:0", 1),
            (2, "r1", "r2", "4", "8", "s:0", 1),
        ],
    )
    def test_a_tail_that_is_another_one_stays(
        self, redis_client: "redis.Redis", args: tuple[Any, ...]
    ) -> None:
        redis_client.hset(LANE.state, "trims", 3)
        before = everything(redis_client)
        assert self.trim(redis_client, *args) == [3, 0]
        assert everything(redis_client) == before


class TestFence:
    def fence(self, client: "redis.Redis", *args: str) -> int:
        answer: int = run_script(client, "fence", [LANE.state], list(args))
        return answer

    def test_it_is_set_once_and_lifted_by_its_token(self, redis_client: "redis.Redis") -> None:
        assert self.fence(redis_client, "REWOUND", "why", "t1", "0", "") == 1
        found = lane(redis_client)
        assert abs(int(found.pop("fenced_at")) // 1000 - redis_client.time()[0]) < 600
        assert found == {"fenced": "REWOUND", "fenced_why": "why", "fence_token": "t1"}
        before = everything(redis_client)
        assert self.fence(redis_client, "TORN", "other", "t2", "0", "") == 0
        assert self.fence(redis_client, "", "", "t2", "0", "") == 0
        assert everything(redis_client) == before
        assert self.fence(redis_client, "", "", "t1", "0", "") == 1
        assert lane(redis_client) == {}
        assert self.fence(redis_client, "", "", "t1", "0", "") == 0

    def test_a_recovery_goes_over_it(self, redis_client: "redis.Redis") -> None:
        self.fence(redis_client, "REWOUND", "why", "t1", "0", "")
        assert self.fence(redis_client, "RECOVERING", "repair", "t2", "1", "") == 1
        assert lane(redis_client)["fence_token"] == "t2"

    @pytest.mark.parametrize(("stands", "found"), [(None, "0"), ("3", "3")])
    def test_of_its_own_generation_alone(
        self, redis_client: "redis.Redis", stands: str | None, found: str
    ) -> None:
        if stands is not None:
            redis_client.hset(LANE.state, "generation", stands)
        before = everything(redis_client)
        for other in ("1", "2", "4"):
            assert self.fence(redis_client, "REWOUND", "late", "t", "0", other) == 0
        assert everything(redis_client) == before
        assert self.fence(redis_client, "REWOUND", "why", "t", "0", found) == 1


class TestReplayDead:
    def test_it_goes_to_where_new_records_go(self, redis_client: "redis.Redis") -> None:
        redis_client.lpush(LANE.list, "newest")
        keys = [LANE.list, LANE.state]
        assert run_script(redis_client, "replay_dead", keys, ["again"]) == 1
        assert redis_client.lrange(LANE.list, 0, -1) == [b"again", b"newest"]

    def test_not_on_a_fenced_lane(self, redis_client: "redis.Redis") -> None:
        redis_client.hset(LANE.state, "fenced", "REWOUND")
        assert run_script(redis_client, "replay_dead", [LANE.list, LANE.state], ["again"]) == 0
        assert not redis_client.exists(LANE.list)


class TestStageBuyers:
    def stage(self, client: "redis.Redis", *args: Any) -> int:
        answer: int = run_script(client, "stage_hash", [NEW_BUYERS], list(args))
        return answer

    def test_a_count_ends_the_one_before(self, redis_client: "redis.Redis") -> None:
        assert self.stage(redis_client, "t1", "1", 7, 2) == 1
        assert self.stage(redis_client, "t1", "0", 8, 1, 9, 4) == 1
        assert redis_client.hgetall(NEW_BUYERS) == {b"": b"t1", b"7": b"2", b"8": b"1", b"9": b"4"}
        assert self.stage(redis_client, "t2", "1") == 1
        assert redis_client.hgetall(NEW_BUYERS) == {b"": b"t2"}
        assert self.stage(redis_client, "t1", "0", 7, 2) == 0
        assert redis_client.hgetall(NEW_BUYERS) == {b"": b"t2"}

    def test_what_was_taken_in_takes_no_more(self, redis_client: "redis.Redis") -> None:
        assert self.stage(redis_client, "t1", "0", 7, 2) == 0
        assert not redis_client.exists(NEW_BUYERS)
