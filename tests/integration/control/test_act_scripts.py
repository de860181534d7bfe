"""The scripts of acts, each by itself: what they refuse, in which words, and that nothing changes.

`seckill.control.control` looks at most of it before it calls them. The scripts are what holds for a
call that arrives late, and for one that comes from anywhere else.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.control.act_script import ActScripts, Seen, Turn
from seckill.errors import Fenced, NoSuchActivity, RedisRefuses, Refused, VersionMoved
from seckill.lane.client import connect, run_script
from seckill.lane.keys import CONTROL_CHANNEL, MARK, Lane
from tests.helpers.sale import everything, put_on_sale
from tests.helpers.script_calls import CALLS, KEYS, TOKEN, Call

LANE = Lane()
ACTS = [call for call in CALLS if call.keys[:3] == [LANE.activities, LANE.state, KEYS.state]]
MAKING = [call for call in ACTS if call.script in ("set_stock", "sync")]
NOT_LOADED, MOVED, FENCED, TORN = -1, -2, -5, -6

each_act = pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act.script} {act.args[-1]}")
each_making_act = pytest.mark.parametrize("act", MAKING, ids=lambda act: act.script)


@pytest.fixture(autouse=True)
def _on_sale(redis_client: "redis.Redis") -> None:
    """An activity at version 1, with buyers that were counted."""
    put_on_sale(redis_client, {1001: 9})
    redis_client.hset(KEYS.new_buyers, mapping={MARK: TOKEN, "7": 1})
    redis_client.hset(KEYS.new_clicks, mapping={MARK: TOKEN})


def run(
    client: "redis.Redis", act: Call, *, expected: str | int = "", journal: int = 0
) -> list[Any]:
    """The answer of an act that builds on this version and has this row in the journal."""
    args = [*act.args[:3], expected, journal, *act.args[5:]]
    answer: list[Any] = run_script(client, act.script, act.keys, args)
    return answer


def refused(client: "redis.Redis", act: Call, expected: str | int = "") -> list[Any]:
    """The same, of an act that changes nothing."""
    before = everything(client)
    answer = run(client, act, expected=expected, journal=5)
    assert everything(client) == before
    return answer


@each_act
def test_on_a_fenced_lane(redis_client: "redis.Redis", act: Call) -> None:
    redis_client.hset(LANE.state, "fenced", "REWOUND")
    assert refused(redis_client, act) == [FENCED, b"REWOUND: "]
    redis_client.hset(LANE.state, "fenced_why", "it is older")
    assert refused(redis_client, act, expected=7) == [FENCED, b"REWOUND: it is older"]


@each_act
def test_of_another_version(redis_client: "redis.Redis", act: Call) -> None:
    for other in (0, 2):
        assert refused(redis_client, act, expected=other) == [MOVED, 1]
    assert run(redis_client, act, expected=1)[0] == 2


@each_making_act
def test_what_is_not_loaded_has_version_nought(redis_client: "redis.Redis", act: Call) -> None:
    redis_client.flushall()
    assert refused(redis_client, act, expected=1) == [MOVED, 0]
    assert run(redis_client, act, expected=0)[0] == 1


@each_act
def test_what_is_not_loaded(redis_client: "redis.Redis", act: Call) -> None:
    redis_client.srem(LANE.activities, "1")
    if act in MAKING:
        assert run(redis_client, act)[0] == 2
    else:
        assert refused(redis_client, act, expected=7) == [NOT_LOADED]


@each_act
def test_without_its_state(redis_client: "redis.Redis", act: Call) -> None:
    redis_client.delete(KEYS.state)
    assert refused(redis_client, act, expected=7) == [TORN]


@each_making_act
def test_without_its_stock(redis_client: "redis.Redis", act: Call) -> None:
    redis_client.delete(KEYS.stock)
    assert refused(redis_client, act) == [TORN]


@each_act
def test_the_row_of_an_act_stays_and_a_step_has_none(
    redis_client: "redis.Redis", act: Call
) -> None:
    assert run(redis_client, act, journal=5)[0] == 2
    assert redis_client.hmget(KEYS.state, "version", "journal") == [b"2", b"5"]
    redis_client.hset(KEYS.new_buyers, mapping={MARK: TOKEN, "7": 1})
    redis_client.hset(KEYS.new_clicks, mapping={MARK: TOKEN})
    assert run(redis_client, act)[0] == 3
    assert redis_client.hmget(KEYS.state, "version", "journal") == [b"3", b"5"]


class TestTheLastUnit:
    """One unit is a sale, none is sold out."""

    HEAD = (1, CONTROL_CHANNEL, "olga", "", 0)

    def over(
        self, client: "redis.Redis", script: str, before: str, units: int, *args: int
    ) -> bytes | None:
        """`over` after a script that leaves so many units; other items have none."""
        put_on_sale(client, {1001: 1 - units, 1002: 0})
        if before:
            client.hset(KEYS.state, "over", before)
        else:
            client.hdel(KEYS.state, "over")
        keys = [*ACTS[0].keys[:3], KEYS.stock, KEYS.loaded, KEYS.stats]
        run_script(client, script, keys, [*self.HEAD, *args])
        found: bytes | None = client.hget(KEYS.state, "over")  # type: ignore[assignment]
        return found

    @pytest.mark.parametrize("before", ["", "sold_out", "finished"])
    @pytest.mark.parametrize("units", [0, 1])
    def test_of_set_stock(self, redis_client: "redis.Redis", before: str, units: int) -> None:
        """It opens what was finished too."""
        after = self.over(redis_client, "set_stock", before, units, 1001, units)
        assert after == (None if units else b"sold_out")

    @pytest.mark.parametrize("before", ["", "sold_out", "finished"])
    @pytest.mark.parametrize("units", [0, 1])
    def test_of_sync(self, redis_client: "redis.Redis", before: str, units: int) -> None:
        after = self.over(redis_client, "sync", before, units, 1001, units, 0, 0)
        if before == "finished":
            assert after == b"finished"
        else:
            assert after == (None if units else b"sold_out")

    @pytest.mark.parametrize("before", ["", "sold_out", "finished"])
    def test_of_add_stock(self, redis_client: "redis.Redis", before: str) -> None:
        after = self.over(redis_client, "add_stock", before, 1, 1001, 1)
        assert after == (b"finished" if before == "finished" else None)

    @pytest.mark.parametrize("before", ["", "sold_out", "finished"])
    @pytest.mark.parametrize("units", [0, 1])
    def test_of_reopen(self, redis_client: "redis.Redis", before: str, units: int) -> None:
        after = self.over(redis_client, "reopen", before, 1 - units)
        assert after == (None if units else b"sold_out")


class TestWhatItMeans:
    """The same answers, as `seckill.control.act_script` tells them."""

    TURN = Turn(1, "olga")

    @pytest.fixture
    def scripts(self, redis_client: "redis.Redis") -> ActScripts:
        return ActScripts(redis_client, LANE)

    def test_another_version(self, scripts: ActScripts) -> None:
        for expected in (0, 7):
            with pytest.raises(VersionMoved) as moved:
                scripts.run("finish", Turn(1, "olga", expected), [])
            assert (moved.value.expected, moved.value.found) == (expected, 1)

    def test_a_lane_that_is_fenced(self, redis_client: "redis.Redis", scripts: ActScripts) -> None:
        redis_client.hset(LANE.state, mapping={"fenced": "REWOUND", "fenced_why": "it is older"})
        with pytest.raises(Fenced, match=r"the lane is fenced \(REWOUND: it is older\)"):
            scripts.run("finish", self.TURN, [])

    def test_a_part_that_is_missing(self, redis_client: "redis.Redis", scripts: ActScripts) -> None:
        redis_client.delete(KEYS.state)
        with pytest.raises(Fenced, match="a part of activity 1 is missing"):
            scripts.run("finish", self.TURN, [])

    def test_what_is_not_loaded(self, redis_client: "redis.Redis", scripts: ActScripts) -> None:
        redis_client.srem(LANE.activities, "1")
        with pytest.raises(NoSuchActivity, match="activity 1 is not loaded"):
            scripts.run("finish", self.TURN, [])

    @pytest.mark.parametrize(
        ("wanted", "why"),
        [((1002, 1), "item 1002 is not on sale in activity 1"), ((1001, 10**16), "too high")],
    )
    def test_an_item(self, scripts: ActScripts, wanted: tuple[int, int], why: str) -> None:
        with pytest.raises(Refused, match=why):
            scripts.run("add_stock", self.TURN, [KEYS.stock, KEYS.loaded], list(wanted))

    def test_a_look(self, redis_client: "redis.Redis", scripts: ActScripts) -> None:
        assert scripts.look(1) == Seen(1, "")
        version, before = scripts.run("finish", Turn(1, "olga", 1, journal="12"), [])
        assert (version, before) == (2, b"")
        assert scripts.look(1) == Seen(2, "12")
        redis_client.srem(LANE.activities, "1")
        assert scripts.look(1) == Seen(0, "12")
        assert scripts.look(2) == Seen(0, "")


@pytest.fixture
def narrow(stack: Endpoints, redis_client: "redis.Redis") -> Iterator["redis.Redis"]:
    """A user of Redis whose rights the test takes away."""
    redis_client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">pw")
    own = redis_client.get_connection_kwargs()["password"]
    client = connect(stack.redis_url.replace(f":{own}@", "narrow:pw@"))
    yield client
    client.close()
    redis_client.execute_command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize("command", ["hset", "hdel"])
@each_act
def test_a_right_that_is_missing_for_one_key(
    redis_client: "redis.Redis", narrow: "redis.Redis", act: Call, command: str
) -> None:
    """Each of the hashes that it writes."""
    run(redis_client, act)
    redis_client.hset(KEYS.new_buyers, mapping={MARK: TOKEN, "7": 1})
    redis_client.hset(KEYS.new_clicks, mapping={MARK: TOKEN})
    written = {KEYS.state, KEYS.stock, KEYS.loaded, KEYS.stats, KEYS.buyers, KEYS.new_buyers}
    # What these only read.
    written -= {"reopen": {KEYS.stock}, "split": {KEYS.stats}}.get(act.script, set())
    for key in written & set(act.keys):
        others = " ".join(f"~{other}" for other in act.keys if other != key)
        redis_client.execute_command(
            *("ACL", "SETUSER", "narrow", "resetkeys", "clearselectors", "+@all", "~*", "&*"),
            *(f"-{command}", f"(+{command} {others})"),
        )
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match=f"{command.upper()} on {key}"):
            run(narrow, act)
        assert everything(redis_client) == before
