"""One attempt to post an event, and how long to wait for the next one.

Owns what an answer means. Redirects are not followed: the address stands in the configuration.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from seckill.events.targets import Target

# Seconds after the first failed attempt; each further one doubles it, up to the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 600.0
# The longest time, in seconds, that a receiver may ask for with Retry-After.
LONGEST_RETRY_AFTER_S = 3600.0
GONE = 410


@dataclass(frozen=True)
class Answer:
    """What came of an attempt. `why` it failed, or "". `gone`: the receiver wants no more, ever."""

    why: str = ""
    gone: bool = False
    retry_after_s: float = 0.0


async def post(
    session: aiohttp.ClientSession, target: Target, event_id: str, body: bytes, limit_s: float
) -> Answer:
    """Post one event. Any status of 200 to 299 is taken for received. Raises nothing for a failure.

    Nothing that `why` says repeats the address, which may hold a secret.
    """
    try:
        async with session.post(
            target.url,
            data=body,
            headers=target.headers(event_id, body),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=limit_s),
        ) as answer:
            status, asked = answer.status, answer.headers.get("Retry-After", "")
    except TimeoutError:
        return Answer(f"no answer in {limit_s:g} s")
    except aiohttp.ClientConnectorError as away:
        return Answer(f"no connection: {away.os_error.strerror or type(away.os_error).__name__}")
    except (aiohttp.ClientError, OSError) as away:
        return Answer(f"no answer: {type(away).__name__}")
    if 200 <= status < 300:
        return Answer()
    return Answer(f"status {status}", gone=status == GONE, retry_after_s=retry_after_s(asked))


def pause_s(attempts: int) -> float:
    """Seconds to wait after so many failed attempts: doubled each time, and spread by chance."""
    longest = min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 20), LONGEST_PAUSE_S)
    return random.uniform(longest / 2, longest)


def retry_after_s(text: str) -> float:
    """Seconds that the header Retry-After asks for, as a number or as a date; 0: nothing."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        asked = float(text)
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        asked = (at - datetime.now(at.tzinfo or UTC)).total_seconds() if at.tzinfo else 0.0
    return min(max(asked, 0.0), LONGEST_RETRY_AFTER_S)
