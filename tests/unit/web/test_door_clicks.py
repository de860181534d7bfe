"""Clicks on their way into Kafka: what each asker is told, whatever the outbox does."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from seckill.broker.outbox import Done
from seckill.web.door import clicks as module
from seckill.web.door.clicks import AnotherBody, Clicks, Order, Unknown
from seckill.web.door.tickets import Ticket, click_of
from seckill.web.door.topic import Topic

ORDER = Order(7, 1, {1001: 1}, click_of(7, "key-0001"))


class Held:
    """An outbox that gives results when the test says so."""

    partitions = 4

    def __init__(self, fails_with: str = "") -> None:
        self.sent: list[Done] = []
        self.due: list[tuple[Done, int, str]] = []
        self._fails_with = fails_with

    @property
    def waiting(self) -> int:
        """See `Outbox`."""
        return len(self.sent)

    def send(
        self,
        value: bytes,
        partition: int,
        done: Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        """See `Outbox`."""
        if self._fails_with:
            done(-1, self._fails_with)
        else:
            self.sent.append(done)
        return True

    def poll(self) -> None:
        """See `Outbox`."""
        due = self.due.copy()
        self.due.clear()
        for done, offset, error in due:
            self.sent.remove(done)
            done(offset, error)

    def flush(self, timeout_s: float) -> int:
        """See `Outbox`."""
        return self.waiting

    def close(self) -> None:
        """See `Outbox`."""


class Named:
    """A Kafka that says which topic it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.asked = 0

    def source(self, topic: str) -> str | None:
        """See `Source`."""
        self.asked += 1
        return self._name

    def close(self) -> None:
        """See `Source`."""


def play(
    outbox: Held, scene: Callable[[Clicks], Coroutine[Any, Any, None]], now: str = "topic"
) -> int:
    """The scene while clicks are handed over. `now` is the topic's id by then. How often Kafka was
    asked for it.
    """
    kafka = Named(now)

    async def on_stage() -> None:
        topic = Topic(kafka, "requests", "topic")
        clicks = Clicks(outbox, topic)
        running = asyncio.gather(clicks.run(), clicks.prove())
        try:
            async with asyncio.timeout(60):
                await scene(clicks)
        finally:
            running.cancel()
            topic.close()

    asyncio.run(on_stage())
    return kafka.asked


async def sent(outbox: Held) -> Done:
    """The first message, as soon as there is one."""
    while not outbox.sent:
        await asyncio.sleep(0)
    return outbox.sent[0]


async def taken(clicks: Clicks, order: Order, at_ms: int) -> Ticket:
    """A click's ticket, once it is good."""
    click = await clicks.take(order, at_ms)
    await click.proof()
    return click.ticket


def test_a_double_click_is_one_message_and_one_ticket() -> None:
    outbox = Held()

    async def scene(clicks: Clicks) -> None:
        both = [asyncio.create_task(taken(clicks, ORDER, 1)) for _ in range(2)]
        outbox.due.append((await sent(outbox), 5, ""))
        tickets = [await asker for asker in both]
        # Also for who comes after the acknowledgement.
        tickets.append(await taken(clicks, ORDER, 2))
        assert {ticket.offset for ticket in tickets} == {5}
        assert len({id(ticket) for ticket in tickets}) == 1
        assert isinstance(tickets[0], Ticket)
        with pytest.raises(AnotherBody):
            await taken(clicks, Order(7, 1, {1001: 2}, ORDER.click), 3)

    play(outbox, scene)


def test_without_an_acknowledgement_it_is_unknown_and_the_late_one_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Held()

    async def scene(clicks: Clicks) -> None:
        with monkeypatch.context() as hurry:
            hurry.setattr(module, "ACKNOWLEDGE_S", 0.0)
            with pytest.raises(Unknown, match="not acknowledged"):
                await taken(clicks, ORDER, 1)
        again = asyncio.create_task(taken(clicks, ORDER, 2))
        outbox.due.append((await sent(outbox), 5, ""))
        assert (await again).offset == 5

    play(outbox, scene)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_record_that_kafka_refuses_is_unknown_for_all_and_is_not_remembered(
    *, at_once: bool
) -> None:
    outbox = Held("refused" if at_once else "")

    async def scene(clicks: Clicks) -> None:
        askers = [asyncio.create_task(taken(clicks, ORDER, 1)) for _ in range(2)]
        if not at_once:
            outbox.due.append((await sent(outbox), -1, "refused"))
        told = await asyncio.gather(*askers, return_exceptions=True)
        assert [str(one) for one in told] == ["refused"] * 2
        assert all(isinstance(one, Unknown) for one in told)
        if not at_once:
            again = asyncio.create_task(taken(clicks, ORDER, 2))
            outbox.due.append((await sent(outbox), 6, ""))
            assert (await again).offset == 6

    play(outbox, scene)


def test_there_is_no_ticket_where_the_topic_was_made_again_and_the_click_is_not_remembered() -> (
    None
):
    outbox = Held()

    async def scene(clicks: Clicks) -> None:
        for offset in (5, 6):
            asker = asyncio.create_task(taken(clicks, ORDER, 1))
            outbox.due.append((await sent(outbox), offset, ""))
            with pytest.raises(Unknown, match="made again"):
                await asker

    play(outbox, scene, "another")


def test_an_answer_may_be_looked_for_before_the_ticket_is_good_and_is_not_given() -> None:
    outbox = Held()

    async def scene(clicks: Clicks) -> None:
        asker = asyncio.create_task(clicks.take(ORDER, 1))
        outbox.due.append((await sent(outbox), 5, ""))
        click = await asker
        assert click.ticket.offset == 5
        with pytest.raises(Unknown, match="made again"):
            await click.proof()

    play(outbox, scene, "another")


def test_all_that_is_acknowledged_in_a_pause_shares_one_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Held()
    monkeypatch.setattr("seckill.web.door.topic.EACH_S", 1.0)

    async def scene(clicks: Clicks) -> None:
        askers = []
        for user in range(50):
            order = Order(user, 1, {1001: 1}, click_of(user, "key-0001"))
            askers.append(asyncio.create_task(taken(clicks, order, 1)))
            outbox.due.append((await sent(outbox), user, ""))
            await asyncio.sleep(0.002)
        assert {ticket.offset for ticket in await asyncio.gather(*askers)} == set(range(50))

    assert play(outbox, scene) <= 3
