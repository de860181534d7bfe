"""Where the load generator sends a request of a split sale."""

import json

from loadgen.parts import Targets
from loadgen.plan import Load, make_load
from loadgen.profile_file import parse_profile
from seckill.config.sections import Client
from seckill.formats.parts import Part, part_of_user

PARTS = (Part(1, "main"), Part(9, "north"))
TARGETS = Targets({1: PARTS}, {"main": "t", "north": "n"}, "main")


def load(**profile: object) -> Load:
    values = {"rate": 100, "users": 50, "requests": 50, **profile}
    return make_load(Client(), parse_profile(values, "a test"), seed=7)


def test_each_user_is_sent_to_their_part() -> None:
    for profile in ({}, {"request_ids": True}, {"activities": {1: 1, 5: 1}}):
        lanes = set()
        for body in load(**profile).buyers().draw([1] * 50):
            assert body is not None
            before = json.loads(body)
            lane, sent = TARGETS.of(body)
            assert sent is not None
            after = json.loads(sent)
            if before.get("activity_id", 1) == 1:
                part = PARTS[part_of_user(before["user_id"], 2)]
                assert (lane, after.pop("activity_id")) == (part.lane, part.activity_id)
                before.pop("activity_id", None)
            else:
                assert lane == "main"
            assert after == before
            lanes.add(lane)
        assert lanes == {"main", "north"}


def test_what_is_no_request_goes_to_the_first_topic_as_it_is() -> None:
    for body in (None, b"", b"{", b'{"user_id":"7"}', b"\xff"):
        assert TARGETS.of(body) == ("main", body)
