"""The outbox on confluent-kafka (librdkafka)."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException

from seckill.broker import outbox, producer
from seckill.broker.producer_confluent import open_library
from seckill.broker.refusals import Needs, reason_of
from seckill.config.sections import KafkaSection


class ConfluentOutbox:
    """`outbox.Outbox` on confluent-kafka."""

    def __init__(self, settings: KafkaSection, topic: str) -> None:
        self._topic = topic
        options: dict[str, Any] = {
            "client.id": outbox.CLIENT_ID,
            "linger.ms": outbox.LINGER_MS,
            "delivery.timeout.ms": int(outbox.EXPIRE_S * 1000),
            "queue.buffering.max.messages": outbox.MAX_RECORDS,
            "queue.buffering.max.kbytes": outbox.MAX_BYTES // 1024,
        }
        self._producer, self.partitions = open_library(settings, topic, options)

    @property
    def waiting(self) -> int:
        """See `outbox.Outbox`."""
        return len(self._producer)

    def send(
        self,
        value: bytes,
        partition: int,
        done: outbox.Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        """See `outbox.Outbox`."""

        def on_delivery(error: Any, message: Any) -> None:
            if error is None:
                done(message.offset(), "")
            else:
                done(-1, reason_of(error, Needs("WRITE", self._topic)))

        try:
            self._producer.produce(
                self._topic,
                value,
                key,
                partition=partition,
                headers=list(headers) or None,
                on_delivery=on_delivery,
            )
        except BufferError:
            return False
        except KafkaException as wrong:
            done(-1, reason_of(wrong))
        return True

    def poll(self) -> None:
        """See `outbox.Outbox`."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> int:
        """See `outbox.Outbox`."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """See `outbox.Outbox`."""
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(producer.CONNECT_S)
        self._producer.close()
