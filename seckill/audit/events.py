"""The audit of events: nothing that is stored from now on is passed over by a publisher's cursor.

Checks only where events have been published. What waits is no finding: see the metric.
"""

from collections.abc import Iterator

from django.db import connection

from seckill.audit.checks import NEVER_DROPPED, Finding

# Of each cursor whether the next rows will have ids above it. Lower ids come only after a sequence
# was set back, as by a restoration of rows without it.
CURSORS = """
SELECT topic, record_id <= (SELECT last_value FROM seckill_record_id_seq)
    AND settlement_id <= (SELECT last_value FROM seckill_settlement_id_seq)
    AND late_payment_id <= (SELECT last_value FROM seckill_latepayment_id_seq)
FROM seckill_eventcursor ORDER BY topic
"""


def cursors() -> list[tuple[str, bool]]:
    """(topic, whether its cursor is behind the ids to come). Call it in the audit's snapshot."""
    with connection.cursor() as cursor:
        cursor.execute(CURSORS)
        return list(cursor.fetchall())


def checks(found: list[tuple[str, bool]]) -> Iterator[Finding | None]:
    """One check for each topic of events."""
    for topic, right in found:
        finding = Finding(
            NEVER_DROPPED,
            f"topic {topic}: the cursor of its events is ahead of the ids of rows to come",
            "an id sequence was set back; run_events would pass over what is stored next",
            "stop log workers and run_events, and set the sequences of seckill_record, "
            "seckill_settlement and seckill_latepayment (setval) to the numbers in "
            "seckill_eventcursor, or higher",
        )
        yield None if right else finding
