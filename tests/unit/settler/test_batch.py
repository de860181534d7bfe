"""Settlements from messages: what is none is INVALID, and keeps its place."""

from seckill.formats import settle
from seckill.formats.settle import Result
from seckill.lane.clicks import Place
from seckill.settler.batch import encode

SOURCE = "6f1b2c3d-0000-4000-8000-00000000000a"


def body(offset: int, result: Result = Result.PAID, reference: str = "pi_1") -> bytes:
    return settle.encode(settle.Settlement(1, 7, (SOURCE, 0, offset), result, 5, reference))


def test_messages_become_settlements() -> None:
    values = [body(1), b"nothing", body(2, Result.FAILED), body(3, Result.CANCELLED, "")]
    batch = encode("settle", 3, 10, [10, 11, 13, 14], values, generation=4)
    assert (batch.partition, batch.start, batch.end, batch.generation) == (3, 10, 15, 4)
    assert batch.requests == 4
    assert [at for at, _ in batch.told] == [10, 11, 13, 14]
    assert [told and (told.hold.offset, told.paid, told.reference) for _, told in batch.told] == [
        (1, True, "pi_1"), None, (2, False, "pi_1"), (3, False, None),
    ]  # fmt: skip
    assert [(i.offset, i.value) for i in batch.invalid] == [(11, b"nothing")]
    assert batch.invalid[0].reason


def test_lost_requests_are_marked_and_unmarked() -> None:
    batch = encode("settle", 0, 0, [0, 1, 2], [body(1), body(2), b""])

    def lost() -> list[bool | None]:
        return [told and told.lost for _, told in batch.told]

    batch.mark_lost(lambda hold: hold == Place(SOURCE, 0, 2))
    assert lost() == [False, True, None]
    batch.mark_lost(lambda hold: False)
    assert lost() == [False, False, None]
