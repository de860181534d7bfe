"""What everybody may see of an activity, from its hashes."""

import pytest

from seckill.web.door.showcase import Left, showcase_of, shown_showcase

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
