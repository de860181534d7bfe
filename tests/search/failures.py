"""What the search fails with: one class for each way to say what is not true.

Hypothesis takes failures of different classes for different ones.
"""

from tests.search.facts import Kind


class Failed(AssertionError):
    """The truth is not what the product says."""


class Oversold(Failed):
    """More than was put on sale."""


class Lost(Failed):
    """An accepted order is gone."""


class Dropped(Failed):
    """A request was passed over."""


class Waits(Failed):
    """Requests wait for ever."""


class Twice(Failed):
    """Decided twice, or invented."""


class OverLimit(Failed):
    """A user has more than his limit."""


class AfterEnd(Failed):
    """Sold after its end."""


class Crashed(Failed):
    """An act that ends in a traceback."""


class TwoMasters(Failed):
    """Two servers decide at the same time."""


class Unnamed(Failed):
    """What an old master told is not named."""


class FalseAlarm(Failed):
    """An audit or a fence without a cause."""


FAILURES: dict[Kind, type[Failed]] = {
    Kind.OVERSOLD: Oversold,
    Kind.LOST: Lost,
    Kind.DROPPED: Dropped,
    Kind.WAITS: Waits,
    Kind.TWICE: Twice,
    Kind.LIMIT: OverLimit,
    Kind.AFTER_END: AfterEnd,
}
