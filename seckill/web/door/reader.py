"""PostgreSQL for a door: few connections on its event loop, and a limit for each read.

What is read here is rare and slow beside a click. A PostgreSQL that is away takes nothing else with
it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from seckill.errors import PostgresAway
from seckill.postgres.access import postgres_errors

# Seconds for one read, with the wait for a connection.
READ_S = 3.0
# Seconds for each host of the address: of two, the second one is asked in time.
HOST_S = 2


class Reader:
    """Reads, so many at the same time."""

    def __init__(self, pg_dsn: str, connections: int) -> None:
        self._dsn = pg_dsn
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._turns = asyncio.Semaphore(connections)

    async def read(
        self, query: str, values: Mapping[str, object] | Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows. Raises PostgresAway, PostgresRefuses."""
        try:
            with postgres_errors():
                async with asyncio.timeout(READ_S), self._turns:
                    connection = self._free.pop() if self._free else await self._connect()
                    try:
                        cursor = await connection.execute(query, values)
                        rows = await cursor.fetchall()
                    except BaseException:
                        await connection.close()
                        raise
                    self._free.append(connection)
                    return rows
        except TimeoutError:
            raise PostgresAway("no answer in time") from None

    async def _connect(self) -> "psycopg.AsyncConnection[Any]":
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, prepare_threshold=None, connect_timeout=HOST_S
        )

    async def close(self) -> None:
        """Close the connections."""
        while self._free:
            await self._free.pop().close()
