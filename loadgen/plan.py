"""The plan of a run, made of profile, configuration and flags.

Owns their precedence: a flag, then the profile, then section `client`.
"""

import math
import secrets
from dataclasses import dataclass, replace

from loadgen.buyers import Buyers
from loadgen.pacer import Pacer, Segment, capped
from loadgen.profile import MAX_USERS, Phase, Profile
from loadgen.profile_file import parse_profile
from seckill.config.layers import ConfigError
from seckill.config.sections import Client
from seckill.formats.outcomes import MAX_ID

# The name of a run without a profile: it follows section `client`.
NO_PROFILE = "client"


@dataclass(frozen=True)
class Load:
    """Everything that decides what is sent and when. The same load gives the same bodies."""

    name: str
    profile: Profile
    users: int
    seed: int
    pacer: Pacer
    # This is part `part` of `parts` processes that send it together.
    part: int = 0
    parts: int = 1
    # What request ids begin with; "": the seed.
    ids: str = ""

    @property
    def requests(self) -> int:
        """Messages of the whole run."""
        return self.pacer.total

    def buyers(self) -> Buyers:
        """The bodies of this load, from the first one."""
        return Buyers(self.profile, self.users, self.seed, self.part, self.parts, self.ids)

    def share(self, part: int, parts: int) -> "Load":
        """What one of several processes sends: together they send each request once, in time."""
        return replace(self, pacer=self.pacer.share(part, parts), part=part, parts=parts)


def make_load(
    client: Client,
    profile: Profile | None = None,
    name: str = NO_PROFILE,
    *,
    requests: int | None = None,
    users: int | None = None,
    peak_rate: float | None = None,
    seed: int | None = None,
    ids: str = "",
) -> Load:
    """What to send. Raises ConfigError if the parts contradict each other.

    Without a profile: `client.user_count` users in shuffled order, one request each, at
    `client.rate`. `peak_rate` scales the profile's curve to this highest rate (requests/s).
    `client.delay` (ms) caps the rate at 1000/delay, with or without a profile. A run without a seed
    gets a random one; the report names it.
    """
    if profile is None:
        profile = parse_profile({"rate": client.rate}, f"section `{client.name}`")
    users = users or profile.users or client.user_count
    if users > MAX_USERS:
        raise ConfigError(f"user_count: {users} is above the {MAX_USERS} that this can shuffle")
    if profile.first_user + users - 1 > MAX_ID:
        raise ConfigError(f"profile {name}: the last user's id would be above {MAX_ID}")
    factor = 1.0
    if peak_rate is not None:
        factor = peak_rate / max(
            rate or 0.0 for phase in profile.rate for rate in (phase.rate, phase.from_, phase.to)
        )
    segments = [_segment(phase, factor) for phase in profile.rate]
    if client.delay:
        segments = capped(segments, 1000 / client.delay)
    endless = math.isinf(sum(segment.area for segment in segments))
    total = requests or profile.requests or (users if endless else None)
    if seed is None:
        seed = profile.seed if profile.seed is not None else secrets.randbits(31)
    try:
        pacer = Pacer(segments, total)
    except ValueError as wrong:
        raise ConfigError(f"profile {name}: {wrong}") from None
    return Load(name, profile, users, seed, pacer, ids=ids)


def _segment(phase: Phase, factor: float) -> Segment:
    seconds = math.inf if phase.seconds is None else phase.seconds
    if phase.rate is not None:
        return Segment(phase.rate * factor, phase.rate * factor, seconds)
    return Segment((phase.from_ or 0.0) * factor, (phase.to or 0.0) * factor, seconds)
