"""Batches unpacked: what was packed comes back; what is damaged or too long is no error."""

import random
import struct
from collections.abc import Iterable

import pytest
import snappy
from kafka.record import MemoryRecords

from seckill.broker import unpack
from seckill.broker.unpack import Budget, Message
from seckill.formats.outcomes import Unreadable
from tests.helpers import bombs
from tests.helpers.bombs import CRC_AT, CRC_FROM, HEADER, LENGTH_AT

CODECS = tuple(bombs.CODECS)
VALUES: list[bombs.Value] = [b"", b"x", b"y" * 63, b"z" * 64, b"a" * 8191, b"b" * 100_000]


def read(data: bytes, budget: Budget | None = None) -> list[Message]:
    """The messages of one batch."""
    batch = MemoryRecords(bytearray(data)).next_batch()
    return list(unpack._messages(batch, budget or Budget()))


def reasons(messages: Iterable[Message]) -> set[str]:
    return {m.value().reason for m in messages if isinstance(m.value(), Unreadable)}  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_packed_comes_back(codec: str) -> None:
    budget = Budget()
    messages = read(bombs.batch(codec, VALUES, b"a header"), budget)
    assert [message.value() for message in messages] == VALUES
    assert [message.offset() for message in messages] == list(range(len(VALUES)))
    assert all(message.headers() == [("a header", None)] for message in messages)
    assert budget.used > 100_000


def test_snappy_without_javas_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bombs, "_compressed", lambda _, pieces: snappy.compress(b"".join(pieces)))
    assert [m.value() for m in read(bombs.batch("snappy", VALUES))] == VALUES
    monkeypatch.setattr(unpack, "MAX_UNPACKED_BYTES", 10_000)
    assert len(reasons(read(bombs.batch("snappy", VALUES)))) == 1


@pytest.mark.parametrize("codec", CODECS[1:])
def test_the_bound_is_one_for_the_batch(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs.batch(codec, [100_000] * 30)
    whole = Budget()
    assert not reasons(read(data, whole))
    monkeypatch.setattr(unpack, "MAX_UNPACKED_BYTES", whole.used)
    assert not reasons(read(data))
    monkeypatch.setattr(unpack, "MAX_UNPACKED_BYTES", whole.used - 1)
    messages = read(data)
    assert [message.offset() for message in messages] == list(range(30))
    assert reasons(messages) == {f"its batch ({codec}) unpacks to more than 2 MB"}


def test_a_codec_that_nobody_knows() -> None:
    data = bytearray(bombs.batch("none", [b"x"]))
    data[CRC_FROM + 1] |= 7
    assert reasons(read(signed(data))) == {"its batch is compressed with an unknown codec (7)"}


def test_a_wrong_checksum() -> None:
    data = bytearray(bombs.batch("none", [b"x", b"y"]))
    data[-1] ^= 1
    assert reasons(read(bytes(data))) == {"its batch is damaged in Kafka: wrong checksum"}
    assert len(read(bytes(data))) == 2


@pytest.mark.parametrize("codec", CODECS)
def test_whatever_is_inside_each_offset_comes_once(codec: str) -> None:
    """With the right checksum: as a broker that has gone mad might sign it."""
    rng = random.Random(7)
    good = bombs.batch(codec, [b"body"] * 3 + [b"z" * 3000] * 7)
    spoilt = 0
    for _ in range(600):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(HEADER, len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(HEADER, len(data)) :]
            struct.pack_into(">i", data, LENGTH_AT, len(data) - LENGTH_AT - 4)
        messages = read(signed(data))
        spoilt += bool(reasons(messages))
        offsets = [message.offset() for message in messages]
        assert offsets == sorted(set(offsets))
        assert set(offsets) <= set(range(10))
    assert spoilt > 100


def signed(data: bytearray) -> bytes:
    """The same with its checksum made right."""
    struct.pack_into(">I", data, CRC_AT, bombs.crc32c(bytes(data[CRC_FROM:])))
    return bytes(data)
