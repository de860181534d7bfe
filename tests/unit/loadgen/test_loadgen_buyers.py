"""The buyers: same seed, same bodies; each user once; shares about right; memory bounded."""

import json
import random
import tracemalloc
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.buyers import Buyers, Kind
from loadgen.malformed import MALFORMED
from loadgen.profile import Profile
from loadgen.profile_file import names, parse_profile, read_profile
from loadgen.shuffle import Shuffled
from seckill.errors import Poison
from seckill.formats.request import decode

NOW = 1_795_448_539_792
MIXED = {
    "rate": 1,
    "items": {1001: 5, 1002: 3, 2001: 1},
    "multi": {"share": 0.2, "items": [2, 3]},
    "repeated": {"share": 0.1},
    "stale": {"share": 0.1, "older_ms": 5000},
    "malformed": {"share": 0.1},
    "activities": {1: 9, 7: 1},
    "request_ids": True,
}


def profile(**keys: Any) -> Profile:
    return parse_profile({"rate": 1, **keys}, "test")


def bodies(chosen: Profile, count: int, seed: int = 5, users: int = 1000) -> list[bytes | None]:
    return Buyers(chosen, users, seed).draw([NOW] * count)


@given(st.integers(1, 3000), st.integers(0, 2**63 - 1))
def test_every_user_comes_exactly_once(n: int, seed: int) -> None:
    order = Shuffled(n, random.Random(seed))
    assert sorted(order[i] for i in range(n)) == list(range(n))


def test_the_order_is_shuffled_and_differs_by_seed() -> None:
    orders = [[Shuffled(1000, random.Random(s))[i] for i in range(1000)] for s in (1, 2)]
    assert orders[0] != orders[1]
    for order in orders:
        follows = sum(b == a + 1 for a, b in pairwise(order))
        assert follows < 20


def test_a_large_crowd_takes_little_memory() -> None:
    tracemalloc.start()
    crowd = Buyers(profile(**{k: v for k, v in MIXED.items() if k != "rate"}), 10_000_000, 1)
    for _ in range(200):
        crowd.draw([NOW] * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 70), max_size=8))
def test_the_same_seed_sends_the_same_however_it_is_cut(seed: int, cuts: list[int]) -> None:
    chosen = profile(**{k: v for k, v in MIXED.items() if k != "rate"})
    whole = bodies(chosen, sum(cuts), seed)
    crowd = Buyers(chosen, 1000, seed)
    assert [body for count in cuts for body in crowd.draw([NOW] * count)] == whole


@given(st.integers(1, 300), st.integers(1, 6), st.integers(0, 2**31))
def test_several_processes_send_each_user_and_each_id_once(
    users: int, parts: int, seed: int
) -> None:
    chosen = profile(request_ids=True)
    drawn: list[bytes | None] = []
    for part in range(parts):
        crowd = Buyers(chosen, users, seed, part, parts)
        mine = crowd.draw([NOW] * len(range(part, 2 * users, parts)))
        assert mine == Buyers(chosen, users, seed, part, parts).draw([NOW] * len(mine))
        drawn += mine
    requests = [json.loads(body or b"") for body in drawn]
    assert Counter(r["user_id"] for r in requests) == dict.fromkeys(range(1, users + 1), 2)
    assert len({r["request_id"] for r in requests}) == 2 * users


def test_another_seed_sends_something_else() -> None:
    assert bodies(profile(), 100, seed=1) != bodies(profile(), 100, seed=2)


def test_these_bodies_stay_as_they_are_for_ever() -> None:
    """A seed in an old report must mean the same requests in a later version."""
    assert bodies(profile(request_ids=True), 3, seed=42) == FOR_EVER


def test_the_short_way_sends_what_the_long_one_does() -> None:
    """An id takes no random number: without it the request is the same one."""
    requests = [json.loads(body or b"") for body in bodies(profile(request_ids=True), 3000)]
    for request in requests:
        del request["request_id"]
    assert [json.loads(body or b"") for body in bodies(profile(), 3000)] == requests


def test_only_the_time_depends_on_the_time() -> None:
    chosen = profile(**{k: v for k, v in MIXED.items() if k != "rate"})
    early = Buyers(chosen, 1000, 5).draw([NOW] * 500)
    late = Buyers(chosen, 1000, 5).draw(range(NOW + 1_000, NOW + 1_500))
    for number, (one, other) in enumerate(zip(early, late, strict=True)):
        if one is not None and other is not None and one != other:
            before, after = json.loads(one), json.loads(other)
            moved = after.pop("request_initiation_time") - before.pop("request_initiation_time")
            assert moved == 1_000 + number
            assert before == after


def test_one_request_for_each_user_without_a_profile() -> None:
    requests = [decode(body) for body in bodies(profile(), 1000)]
    assert sorted(request.user_id for request in requests) == list(range(1, 1001))
    assert {request.request_initiation_time for request in requests} == {NOW}
    assert {item for request in requests for item in request.items} == set(range(1001, 1006))
    assert {n for request in requests for n in request.items.values()} == {1, 2, 3, 4, 5}
    assert all(len(request.items) == 1 for request in requests)


def test_after_the_last_user_all_come_again() -> None:
    users = [decode(body).user_id for body in bodies(profile(first_user=500), 30, users=10)]
    assert users[:10] == users[10:20] == users[20:]
    assert sorted(users[:10]) == list(range(500, 510))


def test_the_shares_are_about_right() -> None:
    chosen = parse_profile(MIXED, "test")
    crowd = Buyers(chosen, 1_000_000, 11)
    sent = crowd.draw([NOW] * 20_000)
    shares = [count / 20_000 for count in crowd.counts]
    assert shares == pytest.approx([0.5, 0.2, 0.1, 0.1, 0.1], abs=0.02)
    malformed = several = stale = other_activity = first_item = 0
    ids: list[str] = []
    for body in sent:
        try:
            request = decode(body)
        except Poison:
            malformed += 1
            continue
        ids.append(str(request.request_id))
        several += len(request.items) > 1
        stale += request.request_initiation_time == NOW - 5000
        other_activity += request.activity == 7
        first_item += list(request.items) == [1001]
    assert malformed == crowd.counts[Kind.MALFORMED]
    assert stale / 20_000 == pytest.approx(0.1, abs=0.02)
    # A repeated one repeats everything, the number of items and the id too.
    assert several / 20_000 == pytest.approx(0.2 + 0.1 * 0.25, abs=0.02)
    assert len(ids) - len(set(ids)) == crowd.counts[Kind.REPEATED]
    assert other_activity / len(ids) == pytest.approx(0.1, abs=0.02)
    assert first_item / (len(ids) - several) == pytest.approx(5 / 9, abs=0.02)


def test_hot_items_get_their_share() -> None:
    chosen = profile(items=[1001, 1002, 1003, 1004], hot={"items": [1002], "share": 0.8})
    wanted = [next(iter(decode(body).items)) for body in bodies(chosen, 10_000)]
    assert wanted.count(1002) / 10_000 == pytest.approx(0.8, abs=0.02)
    assert wanted.count(1003) / 10_000 == pytest.approx(0.2 / 3, abs=0.02)


def test_several_items_are_different_ones_even_where_one_is_much_likelier() -> None:
    chosen = profile(
        items={1: 1_000_000, 2: 1, 3: 1, 4: 1}, multi={"share": 1, "items": 4}, quantity=[2, 3]
    )
    for body in bodies(chosen, 200):
        request = decode(body)
        assert set(request.items) == {1, 2, 3, 4}
        assert set(request.items.values()) <= {2, 3}


@pytest.mark.parametrize("kind", MALFORMED, ids=lambda kind: kind.name)
def test_every_malformed_kind_is_invalid(kind: Any) -> None:
    with pytest.raises(Poison):
        decode(kind.body)


def test_malformed_kinds_can_be_chosen_and_heavy_ones_are_rare() -> None:
    chosen = profile(malformed={"share": 1, "kinds": ["tombstone", "empty"]})
    assert set(bodies(chosen, 200)) == {None, b""}
    heavy = {kind.body for kind in MALFORMED if kind.heavy}
    sent = bodies(profile(malformed={"share": 1}), 20_000)
    assert 1 <= sum(body in heavy for body in sent) <= 120
    assert set(sent) == {kind.body for kind in MALFORMED}


@pytest.mark.parametrize("name", names())
def test_the_bodies_of_each_shipped_profile_are_what_their_counts_say(name: str) -> None:
    crowd = Buyers(read_profile(name), 1000, 3)
    invalid = 0
    for body in crowd.draw([NOW] * 2000):
        try:
            decode(body)
        except Poison:
            invalid += 1
    assert invalid == crowd.counts[Kind.MALFORMED]
    assert sum(crowd.counts) == 2000


FOR_EVER: list[bytes | None] = [
    b'{"user_id":537,"items":{"1005":5},"request_initiation_time":1795448539792,"request_id":"2a-0"}',
    b'{"user_id":592,"items":{"1002":1},"request_initiation_time":1795448539792,"request_id":"2a-1"}',
    b'{"user_id":348,"items":{"1005":5},"request_initiation_time":1795448539792,"request_id":"2a-2"}',
]


def test_other_ids_are_other_clicks_of_the_same_buyers() -> None:
    """A sale that runs again with its seed is bought again."""
    chosen = profile(request_ids=True)
    first = [json.loads(body or b"") for body in Buyers(chosen, 100, 7).draw([NOW] * 50)]
    again = [json.loads(b or b"") for b in Buyers(chosen, 100, 7, ids="x").draw([NOW] * 50)]
    ids = {request.pop("request_id") for request in first}
    assert ids.isdisjoint(request.pop("request_id") for request in again)
    assert first == again
