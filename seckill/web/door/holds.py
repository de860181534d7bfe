"""What becomes of a hold: a buyer gives it back, the shop says whether it was paid.

DELETE /v1/tickets/{ticket}           whoever has the ticket
POST   /v1/tickets/{ticket}/payment   the shop's servers: `payers`

Both are messages for the settler, answered when Kafka has them. What is known to be settled is told
without a message, except a payment that comes too late: that one goes on the desk's list.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from seckill.errors import Poison
from seckill.formats.request import refuse_repeated_keys
from seckill.formats.settle import Reference, Result, Settlement
from seckill.web.door.answers import YES, Answer, State, shown_answer
from seckill.web.door.door_lane import RETRY_S, DoorLane
from seckill.web.door.http import Problem, Response, json_response, retry_after
from seckill.web.door.ordering import Ordering
from seckill.web.door.outgoing import NotTaken, Unknown
from seckill.web.door.payers import SIGNATURE, NotAPayer, Payers
from seckill.web.door.tickets import Ticket


class Payment(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a payment. `ticket` binds a signature to its path."""

    result: Literal["paid", "failed"]
    reference: Reference | None = None
    ticket: str | None = None


_read = msgspec.json.Decoder(Payment).decode


@dataclass
class Holds:
    """The calls on holds of one door."""

    ordering: Ordering
    payers: Payers
    pay_url: str = ""

    def has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a payment comes with a key of the shop; False: it is signed, and is checked with
        its body. Raises Problem: 401.
        """
        if SIGNATURE in headers and b"authorization" not in headers:
            return False
        try:
            self.payers.check_key(headers.get(b"authorization", b""))
        except NotAPayer as wrong:
            raise Problem(401, str(wrong)) from None
        return True

    def payment_of(self, headers: Mapping[bytes, bytes], body: bytes, ticket: str) -> Payment:
        """The payment in a body, its signature checked. Raises Problem."""
        signed = not self.has_key(headers)
        if signed:
            try:
                self.payers.check_signature(headers[SIGNATURE], body, time.time())
            except NotAPayer as wrong:
                raise Problem(401, str(wrong)) from None
        if headers.get(b"content-type", b"").partition(b";")[0].strip() != b"application/json":
            raise Problem(415, "send the payment as application/json")
        try:
            payment = _read(body)
            refuse_repeated_keys(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Poison) as wrong:
            status = 422 if isinstance(wrong, msgspec.ValidationError) else 400
            raise Problem(status, f"not a payment: {str(wrong)[:200]}") from None
        if payment.reference and not payment.reference.isprintable():
            raise Problem(422, "not a payment: reference holds what cannot be printed")
        if payment.ticket not in (ticket, None if not signed else ticket):
            # Else the signed body of one payment could be sent for the ticket of another.
            raise Problem(422, "not a payment: `ticket` must be that of the address")
        return payment

    async def settle(
        self,
        ticket: Ticket,
        text: str,
        result: Result,
        reference: str | None,
        wait_s: float,
        caller: str,
    ) -> Response:
        """Settle the hold of a ticket: 202 when Kafka has it, 200 when it is known. `text` is the
        ticket's. Raises Problem.
        """
        lane = self.ordering.lane_of(ticket)
        answer = await lane.mirror.ask(ticket)
        _refuse(lane, answer)
        wanted = State.PAID if result is Result.PAID else State.CANCELLED
        late = wanted is State.PAID and answer.state in (State.EXPIRED, State.CANCELLED)
        if answer.state is State.HELD or late:
            await _send(lane, ticket, answer, result, reference)
            if answer.state is State.HELD and wait_s:
                later = await lane.wait(ticket, wait_s, caller, lane.mirror.wait_settled)
                answer = later if later.is_decided else answer
        else:
            lane.counts.settle("known")
        content = shown_answer(text, answer, self.pay_url)
        content.pop("outcome")
        content["too_late"] = _too_late(wanted, answer.state)
        if content["too_late"]:
            lane.counts.settle("too_late")
        if answer.state is not State.HELD:
            return json_response(200, content)
        return json_response(202, content, _later(text))


def _refuse(lane: DoorLane, answer: Answer) -> None:
    if answer.state is State.WAITING and answer.delayed:
        lane.counts.settle("not_taken")
        raise Problem(
            503, "the hold cannot be read now; nothing was sent", retry_after_s=RETRY_S,
            taken="no",
        )  # fmt: skip
    if answer.state is State.WAITING:
        raise Problem(409, "this request is not decided yet: ask again", retry_after_s=1)
    if answer.state not in YES or answer.state is State.ACCEPTED:
        raise Problem(409, f"there is no hold to settle: this request is {answer.state}")


async def _send(
    lane: DoorLane, ticket: Ticket, answer: Answer, result: Result, reference: str | None
) -> None:
    assert answer.place is not None
    place = answer.place
    more: dict[str, Any] = {"reference": reference} if reference else {}
    settlement = Settlement(
        activity_id=ticket.activity_id,
        user_id=ticket.user_id,
        hold=(place.source, place.partition, place.offset),
        result=result,
        at=time.time_ns() // 1_000_000,
        **more,
    )
    try:
        await lane.settling.settle(settlement)
    except NotTaken as refused:
        lane.counts.settle("not_taken")
        raise Problem(
            503, f"nothing was settled: {refused}", retry_after_s=RETRY_S, taken="no"
        ) from None
    except Unknown as unknown:
        lane.counts.settle("unknown")
        raise Problem(
            503,
            f"it is not known whether this was taken: {unknown}. Send it again: a hold is "
            "settled once",
            retry_after_s=RETRY_S,
            taken="unknown",
        ) from None
    lane.counts.settle("acknowledged")


def _too_late(wanted: State, state: State) -> bool:
    """Whether something else has settled the hold. Whoever gives back an expired one has it so."""
    if state is State.HELD:
        return False
    return (state is State.PAID) is not (wanted is State.PAID)


def _later(text: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"cache-control", b"no-store"),
        (b"location", f"/v1/tickets/{text}".encode()),
        (b"retry-after", b"%d" % retry_after(1)),
    ]
