"""A profile: what a crowd of buyers looks like.

Owns names, limits and defaults of a profile's keys. Knows no files, Kafka, clocks or flags.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from loadgen.malformed import MALFORMED
from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_ID, MAX_ITEMS, MAX_QUANTITY

# The default items of a request. The default quantity is one to five units.
DEFAULT_ITEMS = dict.fromkeys(range(1001, 1006), 1.0)
# Up to here the tables of the shuffled order stay below 1 MB.
MAX_USERS = 10**9
MAX_REQUESTS = 10**10
MAX_RATE = 10**7


def _as_weights(value: object) -> object:
    """A list of ids, or a mapping of id to weight, as a mapping."""
    if isinstance(value, list):
        if len(set(map(str, value))) != len(value):
            raise ValueError("an id is named twice")
        return dict.fromkeys(value, 1.0)
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError("write a list of ids, or `id: weight` lines")


def _as_phases(value: object) -> object:
    """One number (a constant rate), or a list of phases."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [{"rate": value}]
    if isinstance(value, list):
        return value
    raise ValueError("write requests/s as a number, or a list of phases")


def _as_range(value: object) -> object:
    """One number, or [lowest, highest]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2 and value[0] <= value[1]:
        return tuple(value)
    raise ValueError("write one number, or [lowest, highest]")


Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weights = Annotated[dict[Id, Weight], BeforeValidator(_as_weights), Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=MAX_RATE, allow_inf_nan=False)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
ItemCount = Annotated[int, Field(ge=2, le=MAX_ITEMS)]


class Keys(BaseModel):
    """Base of all models here: unknown keys are refused; frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Phase(Keys):
    """A part of the rate curve: constant (`rate`) or linear (`from`, `to`), for `seconds`."""

    rate: Rate | None = None
    from_: Rate | None = Field(None, alias="from")
    to: Rate | None = None
    # None: until all requests are sent.
    seconds: Annotated[float, Field(gt=0, le=10**7, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Phase":
        constant = self.rate is not None
        linear = self.from_ is not None and self.to is not None
        if constant == linear or (constant and (self.from_ is not None or self.to is not None)):
            raise ValueError("write either rate, or from and to")
        if linear and self.seconds is None:
            raise ValueError("from and to need seconds")
        return self


class Hot(Keys):
    """`share` of the picks go to these items, equally; the rest go to the others."""

    items: Annotated[list[Id], Field(min_length=1)]
    share: Share


class Multi(Keys):
    """`share` of the requests ask for several different items: a number, or [lowest, highest]."""

    share: Share = 0.0
    items: Annotated[tuple[ItemCount, ItemCount], BeforeValidator(_as_range)] = (2, 3)


class Repeated(Keys):
    """`share` of the requests are exact repeats from a recent buyer: a double click."""

    share: Share = 0.0


class Stale(Keys):
    """`share` of the requests have an initiation time `older_ms` before they are sent."""

    share: Share = 0.0
    older_ms: Annotated[int, Field(ge=1, le=10**12)] = 60_000


class Bad(Keys):
    """`share` of the messages are not requests. `kinds` are names; without it, all kinds."""

    share: Share = 0.0
    kinds: list[str] | None = None

    @model_validator(mode="after")
    def _known_kinds(self) -> "Bad":
        known = [kind.name for kind in MALFORMED]
        for kind in self.kinds or ():
            if kind not in known:
                raise ValueError(f"unknown kind {kind!r}; known: {', '.join(known)}")
        if self.kinds is not None and not self.kinds:
            raise ValueError("kinds is empty; leave it out for all kinds")
        return self


class Profile(Keys):
    """A whole profile. Shares are of all messages, so they add up to at most 1."""

    description: str = ""
    rate: Annotated[list[Phase], BeforeValidator(_as_phases), Field(min_length=1)]
    users: Annotated[int, Field(ge=1, le=MAX_USERS)] | None = None
    first_user: Id = 1
    requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)] | None = None
    items: Weights = DEFAULT_ITEMS
    quantity: Annotated[tuple[Quantity, Quantity], BeforeValidator(_as_range)] = (1, 5)
    hot: Hot | None = None
    multi: Multi = Multi()
    repeated: Repeated = Repeated()
    stale: Stale = Stale()
    malformed: Bad = Bad()
    activities: Weights = {DEFAULT_ACTIVITY: 1.0}
    request_ids: bool = False
    seed: Annotated[int, Field(ge=0, le=MAX_ID)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Profile":
        for phase in self.rate[:-1]:
            if phase.seconds is None:
                raise ValueError("rate: only the last phase may have no seconds")
        if not any(phase.rate or phase.from_ or phase.to for phase in self.rate):
            raise ValueError("rate: is 0 all the time")
        shares = (self.multi, self.repeated, self.stale, self.malformed)
        total = sum(part.share for part in shares)
        if total > 1 + 1e-9:
            raise ValueError(
                f"the shares of multi, repeated, stale and malformed add up to {total:g}, above 1"
            )
        if self.multi.share and self.multi.items[0] > len(self.weights):
            raise ValueError(
                f"multi.items: wants {self.multi.items[0]} different items of {len(self.weights)}"
            )
        return self

    @property
    def weights(self) -> dict[int, float]:
        """{item: weight}, including the hot items. The weights have no fixed sum."""
        if self.hot is None:
            return dict(self.items)
        others = {item: w for item, w in self.items.items() if item not in self.hot.items}
        if not others or self.hot.share == 1:
            return dict.fromkeys(self.hot.items, 1.0)
        cold = sum(others.values())
        weights = {item: w / cold * (1 - self.hot.share) for item, w in others.items()}
        if self.hot.share:
            weights |= {item: self.hot.share / len(self.hot.items) for item in self.hot.items}
        return weights
