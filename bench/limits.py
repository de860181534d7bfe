"""What the figures are compared with: a client that only polls, the script alone, a baseline.

Each runs on the same services, in the same run, and gives one rate. Nothing here is part of the
product.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from seckill.broker.opening import open_consumer
from seckill.config.sections import Server
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine, Status
from seckill.formats.request import decode
from seckill.lane.keys import Lane
from seckill.process import garbage

# Partitions of the batches for the script alone: as many as a consumer sends in one group of calls.
PARTITIONS = 4
# Calls in flight of the baseline.
IN_FLIGHT = 32
BASELINE = (Path(__file__).parent / "one_request.lua").read_text(encoding="utf-8")
STOCK, RECORDS = "bench:stock", "bench:records"


def poll_only(server: Server, total: int) -> float:
    """Messages/s of a consumer that discards them, in a separate process."""
    return _in_a_process(_poll_only, server, total)


def baseline(server: Server, total: int) -> float:
    """Requests/s with one request per script call and IN_FLIGHT calls in flight, in a process."""
    return _in_a_process(_baseline, server, total)


def script_alone(
    server: Server, bodies: Sequence[bytes | None], source: str
) -> tuple[float, float, int]:
    """(requests/s of the script, requests/s of decoding and packing, records that it made).

    Certain losers are sent as counts, as the consumer does. Packing is done before the timing.
    """
    engine = Engine(server.redis_url, Lane())
    size = server.batch_size
    first = encode(source, PARTITIONS, 0, range(1), bodies[:1])
    [reply] = engine.decide([first])
    if reply.status is not Status.DECIDED:
        raise RuntimeError(f"the script answers {reply.status.name}")
    began = time.perf_counter()
    groups = []
    for start in range(0, len(bodies), size * PARTITIONS):
        group = []
        for partition in range(PARTITIONS):
            low = start + partition * size
            values = bodies[low : low + size]
            if values:
                at = start // PARTITIONS
                offsets = range(at, at + len(values))
                group.append(encode(source, partition, at, offsets, values, known=reply.known))
        groups.append(group)
    packed_s = time.perf_counter() - began
    began = time.perf_counter()
    accepted = 0
    for group in groups:
        answers = engine.decide(group)
        stale = [
            batch.whole()
            for batch, answer in zip(group, answers, strict=True)
            if answer.status is Status.STALE
        ]
        answers = [answer for answer in answers if answer.status is not Status.STALE]
        for answer in answers + (engine.decide(stale) if stale else []):
            if answer.status is not Status.DECIDED:
                raise RuntimeError(f"the script answers {answer.status.name}")
            accepted += answer.outcomes.count(b"0")
    took_s = time.perf_counter() - began
    engine.close()
    return len(bodies) / took_s, len(bodies) / packed_s, accepted


def _in_a_process(work: Any, server: Server, total: int) -> float:
    """Run `work` in a process. It is spawned, not forked, because a Kafka client has threads."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(server, total, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        return float(ours.recv())
    except EOFError:
        raise RuntimeError(f"{work.__name__} ended without a figure") from None
    finally:
        process.join()


def _poll_only(server: Server, total: int, out: Connection) -> None:
    # As in the consumer: it doubles the rate.
    garbage.rarely()
    consumer = open_consumer(server)
    seen, first, began, now = 0, 0, 0.0, 0.0
    while seen < total:
        count = sum(len(part.offsets) for part in consumer.poll(0.5, server.batch_size))
        now = time.perf_counter()
        if count and not seen:
            first, began = count, now
        seen += count
    out.send((total - first) / (now - began))
    consumer.close()


def _baseline(server: Server, total: int, out: Connection) -> None:
    consumer = open_consumer(server)
    requests: list[tuple[int, ...]] = []
    while len(requests) < total:
        for part in consumer.poll(0.5, server.batch_size):
            for value in part.values:
                request = decode(value)
                pairs = [word for pair in request.items.items() for word in pair]
                requests.append((request.user_id, request.request_initiation_time, *pairs))
    consumer.close()
    # Polling and decoding are done: only the calls are timed, which favours the baseline.
    out.send(asyncio.run(_one_a_call(server.redis_url, requests[:total])))


async def _one_a_call(url: str, requests: list[tuple[int, ...]]) -> float:
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=IN_FLIGHT)
    client = redis.asyncio.Redis(connection_pool=pool)
    waiting = iter(requests)
    sha = str(await client.script_load(BASELINE))
    items = {item for request in requests for item in request[2::2]}
    await client.hset(STOCK, mapping={str(item): 10**9 for item in items})

    async def buy() -> None:
        for request in waiting:
            try:
                answer = await client.evalsha(sha, 2, STOCK, RECORDS, *request)
            except NoScriptError:
                raise RuntimeError("the baseline's script went away") from None
            if answer != 1:
                raise RuntimeError("the baseline refused a request that it has stock for")

    began = time.perf_counter()
    await asyncio.gather(*(buy() for _ in range(IN_FLIGHT)))
    took_s = time.perf_counter() - began
    await client.delete(STOCK, RECORDS)
    await client.aclose()
    return len(requests) / took_s
