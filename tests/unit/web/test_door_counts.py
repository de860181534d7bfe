"""What a door counts: each click once, by what came of it."""

from seckill.web.door.counts import Counts


def test_each_click_is_counted_once() -> None:
    counts = Counts()
    counts.shed, counts.repeated, counts.not_taken, counts.unknown = 1, 2, 3, 4
    counts.taken(0.004)
    counts.taken(0.006)
    assert (counts.asked, counts.acknowledged, counts.acknowledge_ms) == (12, 2, 10)


def test_what_is_refused_is_counted_in_one_place() -> None:
    counts = Counts()
    for status in (401, 422, 422, 429, 503):
        counts.refuse(status)
    assert dict(counts.refused) == {401: 1, 422: 2}
