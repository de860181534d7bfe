"""What everybody may see of an activity, from its hashes."""

import pytest

from seckill.web.door.showcase import Left, Showcase, showcase_of, shown_showcase, whole_of

NOW = 1_000_000


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, "open"),
        ({"opens_at": NOW + 1}, "soon"),
        ({"paused": 1}, "paused"),
        ({"over": "sold_out"}, "sold_out"),
        ({"closes_at": NOW}, "over"),
        ({"over": "finished", "paused": 1}, "over"),
    ],
)
def test_each_state(state: dict[str, int | str], told: str) -> None:
    fields = {name.encode(): str(value).encode() for name, value in state.items()}
    seen = showcase_of(1, NOW, fields, {b"1001": b"5"}, {b"1001": b"5"})
    assert shown_showcase(seen, "", {})["state"] == told


@pytest.mark.parametrize(
    ("units", "loaded", "left"),
    [(100, 100, Left.MANY), (10, 100, Left.MANY), (9, 100, Left.FEW), (1, 1, Left.MANY),
     (0, 100, Left.GONE)],
)  # fmt: skip
def test_how_much_is_left(units: int, loaded: int, left: Left) -> None:
    seen = showcase_of(1, NOW, {}, {b"7": b"%d" % units}, {b"7": b"%d" % loaded})
    assert seen.items == {7: left}


def test_only_an_end_makes_every_request_lose() -> None:
    def loses(**state: int | str) -> bool:
        fields = {name.encode(): str(value).encode() for name, value in state.items()}
        return showcase_of(1, NOW, fields, {b"7": b"1"}, {}).sells_nothing

    assert loses(over="sold_out")
    assert loses(over="finished")
    assert loses(closes_at=NOW)
    assert not loses(paused=1)
    assert not loses(opens_at=NOW + 1)
    assert not loses()


def part(units: int, number: int, **state: str) -> Showcase:
    fields = {name.encode(): value.encode() for name, value in state.items()}
    fields |= {b"part": b"%d/2" % number, b"version": b"3", b"epoch": b"1"}
    return showcase_of(number + 1, NOW, fields, {b"7": b"%d" % units}, {b"7": b"100"})


@pytest.mark.parametrize(
    ("one", "other", "told", "left"),
    [
        (part(50, 0), part(0, 1, over="sold_out"), "open", Left.MANY),
        (part(0, 0, over="sold_out"), part(19, 1), "open", Left.FEW),
        (part(0, 0, over="sold_out"), part(9, 1, paused="1"), "paused", Left.FEW),
        (part(0, 0, over="sold_out"), part(9, 1, over="finished"), "over", Left.FEW),
        (part(0, 0, over="sold_out"), part(0, 1, over="sold_out"), "sold_out", Left.GONE),
    ],
)
def test_a_split_sale_sells_while_a_part_does(
    one: Showcase, other: Showcase, told: str, left: Left
) -> None:
    assert [(each.part, each.parts) for each in (one, other)] == [(0, 2), (1, 2)]
    whole = whole_of(1, [one, other])
    shown = shown_showcase(whole, "", {})
    assert (shown["id"], shown["state"], shown["version"], shown["epoch"]) == (1, told, 6, 2)
    assert whole.items == {7: left}
