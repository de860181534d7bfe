"""What is told of decided requests and of accepted clicks, read from the lane of one look."""

from collections.abc import Sequence

import redis.asyncio

from seckill.formats.parts import part_of_user
from seckill.lane.board import WINNERS
from seckill.lane.clicks import Place, click_field
from seckill.lane.keys import Lane
from seckill.web.door.answers import Answer, Winner, lost, won
from seckill.web.door.look import Look, read_decided, read_winners
from seckill.web.door.tickets import Ticket


class Changed(Exception):
    """Transient: what was read since the look is not of the same lane. The next look says more."""


async def read_answers(
    client: "redis.asyncio.Redis",
    lane: Lane,
    source: str,
    look: Look,
    tickets: Sequence[Ticket],
    clicks: Sequence[tuple[int, str]],
) -> list[Answer | None]:
    """The answers to these tickets, which were decided at the look, and to these clicks (activity,
    field); None: a click was not accepted. Raises Changed, redis.RedisError, OSError.
    """
    own = [Place(source, t.partition, t.offset) for t in tickets]
    fields = [(t.activity_id, click_field(t.user_id, t.click)) for t in tickets]
    fields += clicks
    found = await read_decided(client, lane, own, fields)
    _prove(found.proof, look)
    # Where each was accepted: elsewhere, if it is the twin of a click that was.
    at = [
        place or (here if byte in WINNERS else None)
        for place, here, byte in zip(found.places, own, found.codes, strict=False)
    ] + found.places[len(tickets) :]
    winners: dict[int, Winner] = {}
    asked: dict[int, tuple[int, Place]] = {}
    for n, ((activity_id, _), place) in enumerate(zip(fields, at, strict=True)):
        if place is None:
            continue
        if n < len(own) and place == own[n] and look.holds_nothing(activity_id):
            winners[n] = Winner(place, found.codes[n])
        else:
            asked[n] = (activity_id, place)
    if asked:
        read, proof = await read_winners(client, lane, list(asked.values()))
        _prove(proof, look)
        winners |= zip(asked, read, strict=True)
    answers: list[Answer | None] = []
    for n, place in enumerate(at):
        if place is not None:
            answers.append(won(winners[n], look.now_ms, stored=look.is_stored(place)))
        elif n < len(tickets):
            part, parts = found.parts[tickets[n].activity_id]
            served = part_of_user(tickets[n].user_id, parts) == part
            answers.append(lost(found.codes[n], served=served))
        else:
            answers.append(None)
    return answers


def _prove(proof: tuple[object, ...], look: Look) -> None:
    """What was read is of the lane that was looked at. Raises Changed."""
    if proof != look.proof:
        raise Changed
