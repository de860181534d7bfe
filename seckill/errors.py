"""The three kinds of failure. Each kind has one action, so every `except` says what happens next.

transient  A service does not answer, or refuses for now. Nothing is committed; the step is retried.
poison     One message or record can never succeed. It is counted and parked; the work goes on.
bug        Anything else. It is not caught: the process ends loudly, and a restart repeats the step.
"""


class ServiceAway(Exception):
    """Transient: a service cannot be reached or refuses for now. The message names it and why."""

    def __init__(self, service: str, reason: object, says: str = "is away") -> None:
        super().__init__(f"{service} {says}: {reason}")
        self.service = service


class BrokerAway(ServiceAway):
    """Transient: Kafka."""

    def __init__(self, reason: object, says: str = "is away") -> None:
        super().__init__("Kafka", reason, says)


class BrokerRefuses(BrokerAway):
    """Transient: Kafka answers but refuses, until a person fixes a right or a password."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "refuses")


class RedisAway(ServiceAway):
    """Transient: Redis or Valkey. Also when it is full, loading or read-only."""

    def __init__(self, reason: object, says: str = "is away") -> None:
        super().__init__("Redis", reason, says)


class RedisRefuses(RedisAway):
    """Transient: Redis answers but refuses, until a person fixes a right or a password."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "refuses")


class PostgresAway(ServiceAway):
    """Transient: PostgreSQL. Also when its disk is full or it is read-only."""

    def __init__(self, reason: object, says: str = "is away") -> None:
        super().__init__("PostgreSQL", reason, says)


class PostgresRefuses(PostgresAway):
    """Transient: PostgreSQL answers but refuses, until a person fixes a right or a table."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "refuses")


class DoneInPart(ServiceAway):
    """Transient: an act on a sale over several lanes was done in some of them. Repeat it.

    `told` says where, without what a service said, which may name hosts.
    """

    def __init__(self, message: str, told: str) -> None:
        super().__init__("a lane", message)
        self.args, self.told = (message,), told


class TablesMissing(PostgresRefuses):
    """Transient: PostgreSQL has none of this project's tables, or old ones."""

    def __init__(self) -> None:
        super().__init__("it has no tables of this project, or older ones; run manage.py migrate")


class Poison(Exception):
    """Poison: this one thing can never succeed. The message is the reason why it is parked."""


class Refused(Exception):
    """The act cannot be done as asked. Nothing was changed. The message is for a person."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Fenced(Refused):
    """The lane is fenced, or is not the one that PostgreSQL knows. No act may change it."""


class NoSuchThing(Refused):
    """What was named is unknown. The message says what."""


class NoSuchActivity(NoSuchThing):
    """The activity is unknown, or is not loaded in Redis."""


class TooFew(Refused):
    """Fewer units are left than were to be taken."""


class OtherLane(Refused):
    """The activity is in another lane than the one that was asked. `lane` is its own."""

    def __init__(self, message: str, lane: str) -> None:
        super().__init__(message)
        self.lane = lane


class VersionMoved(Refused):
    """The activity was changed after the caller looked. `found` is its version now."""

    def __init__(self, message: str, expected: int, found: int) -> None:
        super().__init__(message)
        self.expected, self.found = expected, found
