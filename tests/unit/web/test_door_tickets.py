"""Tickets: what is signed is read, and nothing else is."""

import pytest

from seckill.formats.outcomes import MAX_ID
from seckill.web.door.tickets import LENGTH, Forged, Ticket, Tickets, click_of, short_source

SECRET, OTHER = b"a secret of the shop", b"another one of the shop"
TICKET = Ticket(short_source("topic"), 7, 2**40, 12, 1001, click_of(1001, "key-0001"))


def test_a_ticket_is_read_as_it_was_signed() -> None:
    text = Tickets({1: SECRET}).sign(TICKET)
    assert (len(text), Tickets({1: SECRET}).read(text)) == (LENGTH, TICKET)


def test_the_largest_numbers_fit() -> None:
    most = Ticket(b"\xff" * 4, 2**31 - 1, 2**63 - 1, MAX_ID, MAX_ID, click_of(MAX_ID, "k" * 64))
    tickets = Tickets({255: SECRET})
    assert tickets.read(tickets.sign(most)) == most


def test_rotation_signs_with_the_first_and_reads_all() -> None:
    old = Tickets({1: SECRET}).sign(TICKET)
    both = Tickets({2: OTHER, 1: SECRET})
    assert both.read(old) == TICKET
    with pytest.raises(Forged):
        Tickets({1: SECRET}).read(both.sign(TICKET))


@pytest.mark.parametrize("place", range(0, LENGTH, 5))
def test_a_changed_character_is_forged(place: int) -> None:
    text = Tickets({1: SECRET}).sign(TICKET)
    changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    with pytest.raises(Forged):
        Tickets({1: SECRET}).read(changed)


@pytest.mark.parametrize(
    "text", ["", "x", "A" * LENGTH, "A" * (LENGTH + 1), "!" * LENGTH, "é" * LENGTH, "=" * LENGTH]
)
def test_what_is_no_ticket(text: str) -> None:
    with pytest.raises(Forged):
        Tickets({1: SECRET, 0: SECRET}).read(text)


def test_a_click_is_of_its_user_and_its_key() -> None:
    clicks = {click_of(user, key) for user in (1, 2, MAX_ID) for key in ("key-0001", "key-0002")}
    assert len(clicks) == 6
    assert {len(click) for click in clicks} == {16}
