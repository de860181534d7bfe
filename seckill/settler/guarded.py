"""A client of Redis whose every connection is admitted by a guard before it is used.

Owns the claim of the Redis that was admitted last. Not thread-safe.
"""

from typing import Any

import redis
from redis.connection import AbstractConnection

from seckill.consumer.engine import Gatekeeper, run_id_of
from seckill.errors import RedisAway
from seckill.lane.client import no_retry, redis_errors
from seckill.lane.keys import Lane
from seckill.lane.pools import pool
from seckill.postgres.lease import CLAIM_FIELDS, Claim, NotLeading, claim_of

# Seconds that a script may take, and to wait for a connection.
SCRIPT_TIMEOUT_S, CONNECT_TIMEOUT_S = 30.0, 5.0


class Guarded:
    """`ready` comes before each use of `client`."""

    def __init__(self, redis_url: str, lane: Lane, guard: Gatekeeper) -> None:
        self.lane = lane
        self.claim = Claim()
        self._guard = guard
        self._admitted = False
        self.client = redis.Redis.from_pool(
            pool(
                redis_url,
                socket_timeout=SCRIPT_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=no_retry(),
                redis_connect_func=self._on_connect,
            )
        )

    def ready(self) -> None:
        """Ensure that a Redis was admitted, and that it still leads. Raises RedisAway."""
        if self._admitted and self._guard.problem:
            self.drop()
            raise NotLeading(self._guard.problem)
        if not self._admitted:
            with redis_errors():
                self.client.ping()

    def refresh(self) -> Claim:
        """The lane's claim now. If it is another lane, the guard looks at it first. Raises
        RedisAway.
        """
        self.ready()
        with redis_errors():
            values: Any = self.client.hmget(self.lane.state, CLAIM_FIELDS)
        seen = claim_of(values)
        if seen.identity != self.claim.identity:
            self.drop()
            self.ready()
            return self.claim
        self.claim = seen
        return seen

    def drop(self) -> None:
        """Close the connections: the next use opens a new one, and the guard looks again."""
        self._admitted = False
        self.client.connection_pool.disconnect()

    def _on_connect(self, connection: AbstractConnection) -> None:
        self._admitted = False
        connection.on_connect()
        connection.send_command("INFO", "server")
        info: Any = connection.read_response()
        try:
            self.claim = self._guard.admit(run_id_of(info))
        except RedisAway:
            # The library closes the connection after its own errors alone.
            connection.disconnect()
            raise
        self._admitted = True
