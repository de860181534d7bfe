"""Unpacks Kafka's batches for kafka-python, in bounded memory and without raising errors.

A megabyte in Kafka can unpack to gigabytes. The library would unpack it all and take the machine's
memory, again after each restart. A batch that exceeds the limit or is damaged comes as
`Unreadable`, one for each of its offsets.
"""

import gc
import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lz4.frame
import snappy
import zstandard
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from seckill.errors import Poison
from seckill.formats.outcomes import Unreadable

# The batch format since Kafka 0.11.
FORMAT = 2
# Bytes that one batch may unpack to. Requests compress to a tenth, repetitive ones to a thirtieth,
# and by default Kafka accepts batches of up to a megabyte.
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
# Bytes that one poll unpacks. The batch that reaches the limit is the last one.
POLL_BYTES = 8 * 1024 * 1024
# Bytes after which the garbage collector runs. Futures of the library keep tracebacks, and these
# keep polled messages. The collector counts objects only, so it would run after gigabytes.
COLLECT_BYTES = 32 * 1024 * 1024
# Bytes per decompression step.
STEP_BYTES = 1024 * 1024
# The magic of snappy's stream format in Java, and the length of its header.
JAVA_SNAPPY, JAVA_SNAPPY_HEAD = b"\x82SNAPPY\0", 16
# zlib's `wbits` for a gzip stream.
GZIP = 31

DAMAGED = "its batch is damaged in Kafka"
_zstd = zstandard.ZstdDecompressor()


class Message(tuple[int, bytes | None, int, bytes]):
    """(offset, value, timestamp in ms, packed headers), with the methods of confluent-kafka."""

    __slots__ = ()

    def offset(self) -> int:
        """The message's offset."""
        return self[0]

    def value(self) -> bytes | None:
        """The body. None for a tombstone; `Unreadable` if the body cannot be unpacked."""
        return self[1]

    def timestamp(self) -> tuple[int, int]:
        """(1, ms since the epoch)."""
        return 1, self[2]

    def headers(self) -> list[tuple[str, bytes | None]]:
        """The headers in order. Bytes of a name that are not UTF-8 become surrogates."""
        packed, found = self[3], []
        if packed:
            count, at = _number(packed, 0)
            for _ in range(count):
                name, at = _bytes(packed, at)
                value, at = _bytes(packed, at)
                found.append(((name or b"").decode(errors="surrogateescape"), value))
        return found


class Budget:
    """Counts the bytes that a poll unpacks."""

    def __init__(self) -> None:
        self.used = 0
        self._before = 0

    def begin(self) -> None:
        """Start the next poll."""
        self._before += self.used
        self.used = 0
        if self._before > COLLECT_BYTES:
            self._before = 0
            gc.collect()


def bound(consumer: KafkaConsumer) -> Budget:
    """Limit what a consumer unpacks. Its polls return `Message`s; call `begin` before each.

    The library has no option for this, so a class of its fetcher is replaced.
    """
    budget = Budget()
    consumer._fetcher.PartitionRecords = partial(_Records, budget=budget)
    return budget


class _Records(Fetcher.PartitionRecords):
    """The messages of one fetch."""

    def __init__(self, *args: Any, budget: Budget, **options: Any) -> None:
        self._budget = budget
        super().__init__(*args, **options)

    def _maybe_skip_record(self, message: Message) -> bool:
        """A fetch starts with the whole batch around its offset."""
        return bool(message[0] < self.fetch_offset)

    def _unpack_records(
        self, tp: TopicPartition, records: MemoryRecords, *_: object
    ) -> Iterator[Message]:
        while self._budget.used < POLL_BYTES and (batch := records.next_batch()) is not None:
            if batch.magic < FORMAT:
                messages = _of_old_form(batch)
            elif self._left_out(batch):
                messages = iter(())
            else:
                messages = _messages(batch, self._budget)
            for message in messages:
                self.next_fetch_offset = message[0] + 1
                yield message
            if batch.magic == FORMAT:
                # In a compacted topic the batch may end after its last message.
                self.next_fetch_offset = batch.next_offset
        # If only the budget is used up, the rest is fetched again.
        self.drain()

    def _left_out(self, batch: DefaultRecordBatch) -> bool:
        """Whether it is a transaction marker or was aborted. The logic is the library's."""
        self.leader_epoch = batch.leader_epoch
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _messages(batch: DefaultRecordBatch, budget: Budget) -> Iterator[Message]:
    """A batch's messages. After an error, each remaining offset comes as unreadable."""
    following, reason = batch.base_offset, ""
    try:
        if not batch.validate_crc():
            raise Poison(f"{DAMAGED}: wrong checksum")
        data = unpack(batch.compression_type, memoryview(batch._buffer)[batch._pos :])
        budget.used += len(data)
        for message in _read(batch, data):
            following = message[0] + 1
            yield message
    except (Poison, IndexError) as wrong:
        reason = str(wrong) if isinstance(wrong, Poison) else DAMAGED
    # Outside the try block, where nothing refers to the unpacked data any more.
    for offset in range(following, batch.next_offset if reason else following):
        yield Message((offset, Unreadable(reason), batch.max_timestamp, b""))


def _of_old_form(batch: LegacyRecordBatch) -> Iterator[Message]:
    """Batches of brokers before Kafka 0.11, read by the library: only these have no limit."""
    for record in batch:
        yield Message((record.offset, record.value, record.timestamp or 0, b""))


def _read(batch: DefaultRecordBatch, data: bytes) -> Iterator[Message]:
    """Raises Poison or IndexError if the data does not contain valid messages."""
    base, last, first_ms = batch.base_offset, batch.last_offset_delta, batch.first_timestamp
    appended_ms = batch.max_timestamp if batch.timestamp_type else None
    at = least = 0
    for _ in range(batch.records_count):
        length, at = _number(data, at)
        end = at + length
        # The attribute byte has no meaning yet.
        later_ms, at = _number(data, at + 1)
        delta, at = _number(data, at)
        key, at = _number(data, at)
        value, at = _bytes(data, at + max(key, 0))
        if not (at < end <= len(data) and least <= delta <= last):
            raise Poison(DAMAGED)
        at_ms = first_ms + later_ms if appended_ms is None else appended_ms
        yield Message((base + delta, value, at_ms, b"" if end - at == 1 else data[at:end]))
        at, least = end, delta + 1


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at`, and where it ends. Nearly all take one or two bytes: a fast path."""
    low = data[at]
    if low < 0x80:
        return (low >> 1) ^ -(low & 1), at + 1
    high = data[at + 1]
    if high < 0x80:
        low = low & 0x7F | high << 7
        return (low >> 1) ^ -(low & 1), at + 2
    try:
        return decode_varint(data, at)
    except ValueError:
        raise Poison(DAMAGED) from None


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = _number(data, at)
    return (None, at) if size < 0 else (data[at : at + size], at + size)


def unpack(codec: int, data: memoryview) -> bytes:
    """Decompress a batch. Raises Poison if it is too long, damaged, or of an unknown codec."""
    if codec == 0:
        return bytes(data)
    if codec not in _CODECS:
        raise Poison(f"its batch is compressed with an unknown codec ({codec})")
    name, steps = _CODECS[codec]
    # A BytesIO grows in place and returns its content without a copy.
    whole = io.BytesIO()
    try:
        for step in steps(data):
            if whole.tell() + len(step) > MAX_UNPACKED_BYTES:
                raise _too_long(name)
            whole.write(step)
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError, snappy.UncompressError) as no:
        raise Poison(f"its batch cannot be unpacked ({name}): {no}"[:300]) from None
    return whole.getvalue()


def _too_long(name: str) -> Poison:
    return Poison(f"its batch ({name}) unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MB")


def _gzip(packed: memoryview) -> Iterator[bytes]:
    data: bytes | memoryview = packed
    while data:
        stream = zlib.decompressobj(GZIP)
        while not stream.eof:
            step = stream.decompress(data, STEP_BYTES)
            data = stream.unconsumed_tail
            if not (step or stream.eof):
                raise EOFError("it ends in the middle")
            yield step
        data = stream.unused_data


def _snappy(data: memoryview) -> Iterator[bytes]:
    if data[: len(JAVA_SNAPPY)] != JAVA_SNAPPY:
        yield _snappy_block(bytes(data))
        return
    at = JAVA_SNAPPY_HEAD
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        yield _snappy_block(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size


def _snappy_block(block: bytes) -> bytes:
    """A block starts with its decompressed length, so the limit is checked first."""
    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > MAX_UNPACKED_BYTES:
        raise _too_long("snappy")
    return bytes(snappy.decompress(block))


def _lz4(packed: memoryview) -> Iterator[bytes]:
    data: bytes | memoryview = packed
    stream = lz4.frame.LZ4FrameDecompressor()
    while not stream.eof:
        step = stream.decompress(data, STEP_BYTES)
        data = b""
        if not step and stream.needs_input:
            raise EOFError("it ends in the middle")
        yield step


def _zstd_steps(data: memoryview) -> Iterator[bytes]:
    with _zstd.stream_reader(data, read_across_frames=True) as stream:
        while step := stream.read(STEP_BYTES):
            yield step


_CODECS: dict[int, tuple[str, Callable[[memoryview], Iterator[bytes]]]] = {
    1: ("gzip", _gzip),
    2: ("snappy", _snappy),
    3: ("lz4", _lz4),
    4: ("zstd", _zstd_steps),
}
