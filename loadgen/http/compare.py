"""Holds the answers that buyers were given against the orders in PostgreSQL."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import psycopg

from loadgen.http.answers import Line, read_answers, wrong_answers
from loadgen.http.buyer import ACCEPTED, REFUSED
from seckill.postgres.access import connect, postgres_errors

# Answers that are compared at once.
CHUNK = 10_000
CONNECT_S, ANSWER_S = 10, 60.0
# One order is one message; it has a row for each item.
ORDERS = """
SELECT user_id, request_id, count(DISTINCT (source, partition, "offset"))
FROM seckill_record WHERE request_id = ANY(%s) AND user_id = ANY(%s)
GROUP BY user_id, request_id
"""


@dataclass
class Comparison:
    """What was compared: answers by state, the different clicks that have an order, and what is
    wrong, one line each.
    """

    states: Counter[str] = field(default_factory=Counter)
    ordered: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Answers that said yes or no."""
        return self.states[ACCEPTED] + self.states[REFUSED]


def compare(path: Path, pg_dsn: str) -> Comparison:
    """Compare a file of answers. Call it once the orders are stored.

    Raises ConfigError, PostgresAway, PostgresRefuses.
    """
    found = Comparison()
    with postgres_errors(), connect(pg_dsn, CONNECT_S, ANSWER_S) as connection:
        answers = read_answers(path)
        while lines := list(islice(answers, CHUNK)):
            orders = _orders(connection, lines)
            found.states.update(line.state for line in lines)
            found.ordered.update(request_id for _user, request_id in orders)
            told = ((line.user, line.request_id, line.state) for line in lines)
            found.wrong += wrong_answers(told, orders)
    return found


def _orders(connection: psycopg.Connection, lines: Sequence[Line]) -> dict[tuple[int, str], int]:
    clicks = {(line.user, line.request_id) for line in lines}
    users, ids = zip(*clicks, strict=True)
    rows = connection.execute(ORDERS, (list(ids), list(users))).fetchall()
    return {(user, request_id): count for user, request_id, count in rows}
