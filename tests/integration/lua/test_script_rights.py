"""Every script asks for its rights first: one that is missing changes nothing.

Half of a script's writes would stay, and be written again at each try.
"""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine
from seckill.errors import RedisRefuses
from seckill.formats.outcomes import Outcome
from seckill.lane.client import connect, run_script
from seckill.lane.keys import MARK
from tests.helpers.sale import SOURCE, batch, body, everything, load_scripts, put_on_sale
from tests.helpers.script_calls import BOARD, CALLS, HOLDS, KEYS, LANE, LATER, TOKEN, Call

SETTLING = ("settle_batch", "expire_holds")
FENCED = {"fenced": "RECOVERING", "fence_token": TOKEN}


@pytest.fixture
def narrow_url(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[str]:
    """The address of a user of Redis whose rights the test takes away."""
    load_scripts(redis_client)
    redis_client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">pw", "~*", "&*")
    own = redis_client.get_connection_kwargs()["password"]
    yield stack.redis_url.replace(f":{own}@", "narrow:pw@")
    redis_client.execute_command("ACL", "DELUSER", "narrow")


@pytest.fixture
def narrow(narrow_url: str) -> Iterator["redis.Redis"]:
    """A client of that user."""
    client = connect(narrow_url)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("call", "missing"),
    [(call, command) for call in CALLS for command in call.needs.split()],
    ids=lambda it: f"{it.script} {it.args[-1]}"[:20] if isinstance(it, Call) else it,
)
def test_a_right_that_is_missing_changes_nothing(
    redis_client: "redis.Redis", narrow: "redis.Redis", call: Call, missing: str
) -> None:
    put_on_sale(redis_client, {1001: 9}, user_limit=5)
    hold(redis_client)
    redis_client.hset(KEYS.new_buyers, mapping={MARK: TOKEN, "7": 1})
    redis_client.hset(KEYS.new_clicks, mapping={MARK: TOKEN})
    redis_client.hset(KEYS.new_held, mapping={MARK: TOKEN, "s:0:2": ";0|9|7|1001:1"})
    redis_client.zadd(KEYS.new_due, {"s:0:2": 9})
    redis_client.lpush(LANE.list, "record")
    if call.script in ("fence", "rebuild"):
        redis_client.hset(LANE.state, mapping=FENCED)
    if call.script == "archive":
        redis_client.hset(KEYS.state, "over", "finished")
        redis_client.hset(KEYS.stats, "held", 0)
        redis_client.sadd(LANE.activities, "2")
    redis_client.delete(*call.lost or ["none"])
    before = everything(redis_client)
    redis_client.execute_command("ACL", "SETUSER", "narrow", "+@all", f"-{missing}")
    with pytest.raises(RedisRefuses, match=missing.upper()):
        run_script(narrow, call.script, call.keys, call.args)
    assert everything(redis_client) == before
    # With it the call writes: so it was refused for nothing else.
    redis_client.execute_command("ACL", "SETUSER", "narrow", f"+{missing}")
    run_script(narrow, call.script, call.keys, call.args)
    assert everything(redis_client) != before


def hold(client: "redis.Redis") -> None:
    """Holds of one user, two of them due, that count against the user's limit."""
    client.hset(KEYS.held, mapping=HOLDS)
    client.zadd(KEYS.due, dict.fromkeys(HOLDS, 1))
    client.hset(KEYS.buyers, "7", 3)


@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.script in SETTLING], ids=lambda call: call.script
)
def test_a_right_that_is_missing_for_one_key_of_a_hold(
    redis_client: "redis.Redis", narrow: "redis.Redis", call: Call
) -> None:
    put_on_sale(redis_client, {1001: 9}, user_limit=5)
    hold(redis_client)
    before = everything(redis_client)
    needs = {LANE.list: "lpush", BOARD: "setrange", KEYS.due: "zrem", KEYS.held: "hdel"}
    for key in set(call.keys) - {LANE.activities, LANE.positions}:
        if call.script == "expire_holds" and key == LANE.settle_positions:
            continue
        command = needs.get(key, "hset")
        others = " ".join(f"~{other}" for other in call.keys if other != key)
        redis_client.execute_command(
            *("ACL", "SETUSER", "narrow", "clearselectors", "+@all", f"-{command}"),
            f"(+{command} {others})",
        )
        with pytest.raises(RedisRefuses, match=f"{command.upper()} on {key}"):
            run_script(narrow, call.script, call.keys, call.args)
        assert everything(redis_client) == before
    redis_client.execute_command("ACL", "SETUSER", "narrow", "clearselectors", "+@all")
    run_script(narrow, call.script, call.keys, call.args)
    assert redis_client.hget(KEYS.buyers, "7") == b"1"
    assert redis_client.hgetall(KEYS.held) == {b"s:0:1": LATER.encode()}
    assert redis_client.zscore(KEYS.due, "s:0:1") == 99999999999999


def test_a_fence_that_may_not_be_set_is_no_answer(
    redis_client: "redis.Redis", narrow_url: str
) -> None:
    """Told REWOUND, a consumer would take the lane for fenced, and others would go on selling."""
    put_on_sale(redis_client, {1001: 9})
    before = everything(redis_client)
    redis_client.execute_command("ACL", "SETUSER", "narrow", "+@all", "-hset")
    engine = Engine(narrow_url, LANE)
    with pytest.raises(RedisRefuses, match="HSET"):
        engine.decide([batch([body(1)], 5)])
    engine.close()
    assert everything(redis_client) == before


def test_a_right_that_is_missing_for_one_key_of_a_batch(
    redis_client: "redis.Redis", narrow_url: str
) -> None:
    """Of each that it writes: a hold on the last unit, with a limit and an id, and an invalid
    body.
    """
    put_on_sale(redis_client, {1001: 1}, user_limit=1, hold_s=60)
    engine = Engine(narrow_url, LANE)
    sent = batch([body(1, request_id="a"), b"no request"])
    _, _, count, *rest = engine._command(sent)
    keys = [str(key) for key in rest[: int(count)]]
    needs = {LANE.list: "lpush", LANE.board(SOURCE, 0, 0): "setrange", KEYS.due: "zadd"}
    before = everything(redis_client)
    for key in set(keys) - {LANE.activities}:
        command = needs.get(key, "hset")
        others = " ".join(f"~{other}" for other in keys if other != key)
        redis_client.execute_command(
            *("ACL", "SETUSER", "narrow", "clearselectors", "+@all", f"-{command}"),
            f"(+{command} {others})",
        )
        with pytest.raises(RedisRefuses, match=f"{command.upper()} on {key}"):
            engine.decide([sent])
        assert everything(redis_client) == before
    redis_client.execute_command("ACL", "SETUSER", "narrow", "clearselectors", "+@all")
    assert engine.decide([sent])[0].count(Outcome.ACCEPTED) == 1
    assert set(keys) <= {key.decode() for key in everything(redis_client)}
    engine.close()
