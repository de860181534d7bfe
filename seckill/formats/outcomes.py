"""The outcomes of a request, and every limit of the formats of requests and records.

Described in docs/formats.md. Imports nothing of ours.
"""

from enum import IntEnum

# Ids are positive and fit PostgreSQL's bigint.
MAX_ID = 2**63 - 1
# Units of one item in one request.
MAX_QUANTITY = 1_000_000
# Different items in one request.
MAX_ITEMS = 50
# Characters of a request's own id.
MAX_REQUEST_ID = 64
# Units of one item on sale. Lua's numbers are exact up to 2**53; sums of 1,000 items stay below.
MAX_UNITS = 10**12
# Times are ms since the epoch. Above this limit Lua does not hold them exactly.
MAX_TIME_MS = 2**53
# The activity of a request that names none.
DEFAULT_ACTIVITY = 1


class Unreadable(bytes):
    """Stands for a body that Kafka holds but nobody can unpack: empty bytes with the reason."""

    reason: str

    def __new__(cls, reason: str) -> "Unreadable":
        """`reason` is in words, for the dead letter."""
        body = super().__new__(cls)
        body.reason = reason
        return body


class Outcome(IntEnum):
    """The one answer to a request. decide_batch.lua repeats the numbers; a test compares them."""

    ACCEPTED = 1
    OVER = -1
    SOLD_OUT = -2
    EXPIRED = -3
    LIMIT = -4
    NOT_OPEN = -5
    UNKNOWN_ITEM = -6
    NO_SUCH_ACTIVITY = -7
    INVALID = -8
    # The same user's request with the same id was accepted before: this one is not a second order.
    REPEATED = -9


def digit_of(outcome: Outcome) -> int:
    """The byte of an outcome, in the script's answer and on the board: "0" is ACCEPTED."""
    return ord("0") + (0 if outcome is Outcome.ACCEPTED else -outcome)


OUTCOME_OF_DIGIT = {digit_of(outcome): outcome for outcome in Outcome}
