"""Batches as no honest producer makes them, sent to Kafka byte by byte; and damage on its disk."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lz4.frame
import snappy
import zstandard
from crc32c import crc32c
from kafka.admin import KafkaAdminClient
from kafka.protocol.producer import ProduceRequest
from kafka.record.util import encode_varint

from tests.helpers.sale import now_ms

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
STEP = 1 << 20
ZEROS = bytes(STEP)
# Places in a batch's header.
LENGTH_AT, CRC_AT, CRC_FROM, HEADER = 8, 17, 21, 61
Value = bytes | int


def varint(number: int) -> bytes:
    """As records have their numbers."""
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def _records(values: Iterable[Value], header: bytes) -> Iterator[bytes]:
    """Records in pieces; a number stands for so many zeros. `header` is the name of one."""
    headers = varint(0) if not header else varint(1) + varint(len(header)) + header + varint(-1)
    for delta, value in enumerate(values):
        size = value if isinstance(value, int) else len(value)
        head = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(size)
        yield varint(len(head) + size + len(headers)) + head
        if isinstance(value, bytes):
            yield value
        else:
            for at in range(0, size, STEP):
                yield ZEROS[: size - at]
        yield headers


def _compressed(codec: str, pieces: Iterator[bytes]) -> bytes:
    if codec == "none":
        return b"".join(pieces)
    if codec == "snappy":
        return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + b"".join(_snappy_blocks(pieces))
    begin = b""
    if codec == "gzip":
        stream: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
    elif codec == "lz4":
        stream = lz4.frame.LZ4FrameCompressor(block_linked=False)
        begin = stream.begin()
    else:
        stream = zstandard.ZstdCompressor().compressobj()
    return begin + b"".join([stream.compress(piece) for piece in pieces]) + bytes(stream.flush())


def _snappy_blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in (*pieces, None):
        waiting += piece or b""
        while len(waiting) >= 65536 or (piece is None and waiting):
            block = snappy.compress(bytes(waiting[:65536]))
            yield struct.pack(">i", len(block)) + block
            del waiting[:65536]


def batch(codec: str, values: list[Value], header: bytes = b"") -> bytes:
    """One batch of Kafka's format 2."""
    count, now = len(values), now_ms()
    head = struct.pack(">hiqqqhii", CODECS[codec], count - 1, now, now, -1, -1, -1, count)
    checked = head + _compressed(codec, _records(values, header))
    length = CRC_FROM - LENGTH_AT - 4 + len(checked)
    return struct.pack(">qiibI", 0, length, -1, 2, crc32c(checked)) + checked


def produce(brokers: str, topic: str, partition: int, *batches: bytes) -> None:
    """Send batches as they are, one after the other."""
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=60_000)
    try:
        topic_id = admin.describe_topics([topic])[0]["topic_id"]
        for data in batches:
            answer = admin._manager.run(partial(_send, admin, topic, topic_id, partition, data))
            answer = answer.responses[0].partition_responses[0]
            assert answer.error_code == 0, answer
    finally:
        admin.close()


async def _send(
    admin: KafkaAdminClient, topic: str, topic_id: Any, partition: int, data: bytes
) -> Any:
    part = ProduceRequest.TopicProduceData.PartitionProduceData(index=partition, records=data)
    whole = ProduceRequest.TopicProduceData(name=topic, topic_id=topic_id, partition_data=[part])
    request = ProduceRequest(transactional_id=None, acks=-1, timeout_ms=60_000, topic_data=[whole])
    return await admin._manager.send(request, node_id=1)


def damage(data: Path, topic: str, partition: int, offset: int) -> None:
    """Turn a byte in the middle of the batch that begins at this offset, on the broker's disk."""
    [path] = (data / f"{topic}-{partition}").glob("*.log")
    with path.open("r+b") as file:
        raw, at = file.read(), 0
        while at < len(raw):
            first, length = struct.unpack_from(">qi", raw, at)
            if first == offset:
                middle = at + HEADER + (length + 12 - HEADER) // 2
                file.seek(middle)
                file.write(bytes([raw[middle] ^ 0xFF]))
                return
            at += 12 + length
    raise AssertionError(f"no batch begins at offset {offset}")
