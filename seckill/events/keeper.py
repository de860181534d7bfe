"""How far a topic's events are published, and who publishes them: a row of seckill_eventcursor.

Owns that table. One publisher at a time has the row, until it gives it back or has not renewed it
for LEASE_S. So the events of a user are sent by one process, in their order.
"""

import uuid

import psycopg

from seckill.events.feed import Cursor, highest_rows
from seckill.telemetry.heartbeats import worker_id

# Seconds until another publisher may take over, and between two renewals.
LEASE_S, RENEW_S = 10.0, 2.0

MAKE = """
INSERT INTO seckill_eventcursor (topic, record_id, settlement_id, late_payment_id, holder)
VALUES (%s, %s, %s, %s, '') ON CONFLICT (topic) DO NOTHING
"""
TAKE = """
UPDATE seckill_eventcursor SET holder = %s, until = clock_timestamp() + %s * interval '1 second'
WHERE topic = %s AND (holder IN (%s, '') OR until < clock_timestamp())
RETURNING record_id, settlement_id, late_payment_id
"""
MOVE = """
UPDATE seckill_eventcursor SET record_id = %s, settlement_id = %s, late_payment_id = %s
WHERE topic = %s AND holder = %s
"""
GIVE_BACK = "UPDATE seckill_eventcursor SET holder = '' WHERE topic = %s AND holder = %s"
HOLDER = "SELECT holder FROM seckill_eventcursor WHERE topic = %s"


class Keeper:
    """The cursor of one topic, as one publisher holds it. Raises psycopg.Error."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # Two processes of one name (containers) are not one holder.
        self._me = f"{worker_id()}:{uuid.uuid4().hex[:8]}"

    def make(self, connection: psycopg.Connection, *, from_now: bool) -> bool:
        """Make the cursor if there is none: at the first row, or at the last. True if made."""
        begin = highest_rows(connection) if from_now else Cursor()
        return connection.execute(MAKE, (self._topic, *begin)).rowcount > 0

    def take(self, connection: psycopg.Connection) -> Cursor | None:
        """Take the cursor, or renew it. None: somebody else has it."""
        row = connection.execute(TAKE, (self._me, LEASE_S, self._topic, self._me)).fetchone()
        return Cursor(*row) if row else None

    def holder(self, connection: psycopg.Connection) -> str:
        """Who has it."""
        row = connection.execute(HOLDER, (self._topic,)).fetchone()
        return str(row[0]) if row else ""

    def move(self, connection: psycopg.Connection, cursor: Cursor) -> bool:
        """Note what is published. False: somebody else has taken over."""
        return connection.execute(MOVE, (*cursor, self._topic, self._me)).rowcount > 0

    def give_back(self, connection: psycopg.Connection) -> None:
        """Let another publisher go on at once."""
        connection.execute(GIVE_BACK, (self._topic, self._me))
