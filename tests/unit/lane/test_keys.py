"""Key names: one table, as docs/formats.md has it."""

import pytest

from seckill.lane.keys import CONTROL_CHANNEL, ActivityKeys, Lane, position_field


def test_the_names_of_the_default_lane() -> None:
    lane = Lane()
    assert CONTROL_CHANNEL == "control_channel"
    assert {
        "list": lane.list,
        "dead": lane.dead,
        "activities": lane.activities,
        "positions": lane.positions,
        "stats": lane.stats,
        "settle_positions": lane.settle_positions,
        "settle_stats": lane.settle_stats,
        "settle_read": lane.settle_read,
        "audit": lane.audit,
        "audit_turn": lane.audit_turn,
        "waited": lane.waited,
        "series": lane.series,
        "workers": lane.workers,
        "beats": lane.beats,
    } == {
        "list": "seckill:logs",
        "dead": "seckill:logs:dead",
        "activities": "{seckill:logs}:activities",
        "positions": "{seckill:logs}:positions",
        "stats": "{seckill:logs}:stats",
        "settle_positions": "{seckill:logs}:settle:positions",
        "settle_stats": "{seckill:logs}:settle:stats",
        "settle_read": "{seckill:logs}:settle:read",
        "audit": "{seckill:logs}:audit",
        "audit_turn": "{seckill:logs}:audit:turn",
        "waited": "{seckill:logs}:waited",
        "series": "{seckill:logs}:series",
        "workers": "{seckill:logs}:workers",
        "beats": "{seckill:logs}:beats",
    }
    assert lane.activity(7) == ActivityKeys(
        state="{seckill:logs}:7:state",
        stock="{seckill:logs}:7:stock",
        loaded="{seckill:logs}:7:loaded",
        stats="{seckill:logs}:7:stats",
        buyers="{seckill:logs}:7:buyers",
        new_buyers="{seckill:logs}:7:buyers:new",
        clicks="{seckill:logs}:7:clicks",
        new_clicks="{seckill:logs}:7:clicks:new",
        held="{seckill:logs}:7:held",
        due="{seckill:logs}:7:due",
        new_held="{seckill:logs}:7:held:new",
        new_due="{seckill:logs}:7:due:new",
    )


def test_a_position_is_named_by_its_source_and_partition() -> None:
    assert position_field("2b0e7b0c-0000-4000-8000-000000000001", 3) == (
        "2b0e7b0c-0000-4000-8000-000000000001:3"
    )


@pytest.mark.parametrize("name", ["seckill:logs", "seckill:logs:2", "x"])
def test_all_keys_of_a_lane_hash_to_its_lists_slot(name: str) -> None:
    lane = Lane(name)
    keys = lane.activity(9223372036854775807)
    own = (lane.activities, lane.positions, lane.stats, lane.audit, lane.audit_turn)
    settle = (lane.settle_positions, lane.settle_stats, lane.settle_read)
    watched = (lane.series, lane.workers, lane.beats)
    for key in (*own, *settle, *watched, *vars(keys).values()):
        # What a cluster hashes: the text between the first { and the next }.
        assert key[key.index("{") + 1 : key.index("}")] == lane.list


def test_two_lanes_and_two_activities_share_no_key() -> None:
    def names(lane: Lane) -> set[str]:
        own = {lane.list, lane.dead, lane.activities, lane.positions, lane.stats}
        own |= {lane.audit, lane.audit_turn}
        own |= {lane.settle_positions, lane.settle_stats, lane.settle_read}
        own |= {lane.series, lane.workers, lane.beats}
        for activity in (1, 11):
            own |= set(vars(lane.activity(activity)).values())
        return own

    one, other = names(Lane("seckill:logs")), names(Lane("seckill:logs:2"))
    assert len(one) == len(other) == 13 + 2 * 12
    assert not one & other
