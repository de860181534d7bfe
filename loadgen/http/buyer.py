"""A buyer at a door: clicks, and asks until there is an answer, as a page does.

Owns the calls, what is sent again, and with which pauses. Whatever is not known to be refused is
sent again with the same key.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import msgspec

from loadgen.http.clicks import Click
from seckill.web.door.answers import YES
from seckill.web.door.token_maker import TokenMaker

# Seconds that a call waits for the decision at the door, and beyond them for the answer.
WAIT_S, ANSWER_S = 25, 10.0
# Seconds from the first send until a buyer gives up.
GIVE_UP_S = 120.0
# Seconds before the next try where the door does not say how long, and at most.
PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
# Seconds that tokens are good for; they are made once a buyer clicks.
TOKEN_S = 3600
PREFER = {"Prefer": f"wait={WAIT_S}"}
# A hold is a yes too, whatever became of it: nobody pays here.
ACCEPTED, REFUSED = "accepted", "refused"
# How a click may end beside those two.
TURNED_AWAY, UNANSWERED = "turned away", "unanswered"


class _Content(msgspec.Struct):
    """What is read of every answer, a problem or not."""

    state: str = ""
    ticket: str = ""
    outcome: str = ""
    at_door: bool = False
    taken: str = ""


_read = msgspec.json.Decoder(_Content).decode


@dataclass(frozen=True, slots=True)
class Told:
    """The end of a click. `outcome`: of the script, "" if it is not known; of TURNED_AWAY, the
    status.
    """

    state: str
    outcome: str = ""
    ticket: str = ""
    at_door: bool = False


@dataclass
class Trouble:
    """What happened before the answers: calls that were made again, by reason."""

    limited: int = 0
    not_taken: int = 0
    unknown: int = 0
    void: int = 0
    # By status, or by the name of the network error.
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def retries(self) -> int:
        """Calls that were made again."""
        return self.limited + self.not_taken + self.unknown + self.void + self.errors.total()


class Buyer:
    """Sends clicks on a session's connections. `door` is the door's address, without a slash."""

    def __init__(self, session: aiohttp.ClientSession, door: str, tokens: TokenMaker) -> None:
        self.trouble = Trouble()
        self._session, self._door, self._tokens = session, door, tokens

    async def until_told(self, click: Click) -> Told:
        """Click, and ask, until there is a final answer or it takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_S
        headers = {
            "Authorization": f"Bearer {self._tokens.make(click.user, int(time.time()) + TOKEN_S)}",
            "Idempotency-Key": click.key,
            "Content-Type": "application/json",
            **PREFER,
        }
        ticket = ""
        while loop.time() < deadline:
            began = loop.time()
            try:
                if ticket:
                    call = self._session.get(f"{self._door}/v1/tickets/{ticket}", headers=PREFER)
                else:
                    call = self._session.post(
                        f"{self._door}/v1/requests", data=click.body, headers=headers
                    )
                async with call as answer:
                    status, retry = answer.status, answer.headers.get("Retry-After", "")
                    told = _content(await answer.read())
            except (aiohttp.ClientError, TimeoutError, OSError) as lost:
                self.trouble.errors[type(lost).__name__] += 1
                if not click.proper:
                    return Told(TURNED_AWAY, type(lost).__name__)
                await asyncio.sleep(PAUSE_S)
                continue
            if status in (200, 202) and (told.state in YES or told.state == REFUSED):
                state = ACCEPTED if told.state in YES else REFUSED
                return Told(state, told.outcome, told.ticket or ticket, told.at_door)
            if status in (200, 202):
                if told.state == "void":
                    self.trouble.void += 1
                    ticket = ""
                else:
                    ticket = told.ticket or ticket
                    if loop.time() - began > WAIT_S / 2:
                        continue
            elif status == 429:
                self.trouble.limited += 1
            elif status >= 500:
                self._refused(status, told.taken)
            else:
                return Told(TURNED_AWAY, str(status), ticket)
            await asyncio.sleep(_pause(retry))
        return Told(UNANSWERED, "", ticket)

    def _refused(self, status: int, taken: str) -> None:
        if taken == "no":
            self.trouble.not_taken += 1
        elif taken == "unknown":
            self.trouble.unknown += 1
        else:
            self.trouble.errors[str(status)] += 1


def _content(body: bytes) -> _Content:
    try:
        return _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A proxy's own page: the status says all.
        return _Content()


def _pause(retry_after: str) -> float:
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST_PAUSE_S)
    return PAUSE_S
