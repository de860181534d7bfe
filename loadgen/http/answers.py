"""The answers of a run as a file, one JSON line a click, to be held against the records.

Owns the lines, and what is wrong with an answer. Knows no PostgreSQL: see `loadgen.http.compare`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import msgspec

from loadgen.http.buyer import ACCEPTED, REFUSED, Told
from loadgen.http.clicks import Click
from seckill.config.layers import ConfigError

_to_json = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """What a buyer was told about a click. `request_id` is the click's, as the rows have it."""

    user: int
    key: str
    request_id: str
    ticket: str
    state: str
    outcome: str


_read = msgspec.json.Decoder(Line).decode


class Answers:
    """Writes the file."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, click: Click, told: Told) -> None:
        """A click has ended."""
        line = Line(click.user, click.key, click.request_id, told.ticket, told.state, told.outcome)
        self._out.write(_to_json(line).decode() + "\n")


def read_answers(path: Path) -> Iterator[Line]:
    """The lines of a file, in order. Raises ConfigError."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    yield _read(text)
                except msgspec.DecodeError as wrong:
                    raise ConfigError(f"{path}: line {number} is no answer: {wrong}") from None
    except OSError as wrong:
        raise ConfigError(f"{path}: {wrong.strerror or 'cannot be read'}") from None


def wrong_answers(
    told: Iterable[tuple[int, str, str]], orders: Mapping[tuple[int, str], int]
) -> list[str]:
    """What buyers were told, as (user, request id, state), against {(user, request id): orders}.

    Never "no" to who has an order, never "yes" to who has none, never two orders for one click.
    """
    wrong, twice = [], set[tuple[int, str]]()
    for user, request_id, state in told:
        click = f"user {user}, request {request_id}"
        known = orders.get((user, request_id), 0)
        if known > 1 and (user, request_id) not in twice:
            twice.add((user, request_id))
            wrong.append(f"one click, {known} orders: {click}")
        if state == ACCEPTED and not known:
            wrong.append(f"told yes, and has no order: {click}")
        if state == REFUSED and known:
            wrong.append(f"told no, and has an order: {click}")
    return wrong
