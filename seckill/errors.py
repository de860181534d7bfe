"""Three kinds of failure, three actions: whoever reads an `except` knows what happens next.

transient  a service does not answer or refuses for now: nothing is committed, the same step again.
poison     one message or record can never succeed: it is counted, parked with its reason, passed.
bug        anything else: not caught, the process ends loudly, a restart repeats the step.
"""


class ServiceAway(Exception):
    """Transient: a service cannot be reached, or refuses for now. The message says which, why."""

    def __init__(self, service: str, reason: object, says: str = "is away") -> None:
        super().__init__(f"{service} {says}: {reason}")
        self.service = service


class BrokerAway(ServiceAway):
    """Transient: Kafka."""

    def __init__(self, reason: object) -> None:
        super().__init__("Kafka", reason)


class RedisAway(ServiceAway):
    """Transient: Redis or Valkey, also when it is full, loading or read-only."""

    def __init__(self, reason: object, says: str = "is away") -> None:
        super().__init__("Redis", reason, says)


class RedisRefuses(RedisAway):
    """Transient: Redis answers and says no, until a person has mended it: a right, a password."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "refuses")


class PostgresAway(ServiceAway):
    """Transient: PostgreSQL, also when its disk is full or it is read-only."""

    def __init__(self, reason: object, says: str = "is away") -> None:
        super().__init__("PostgreSQL", reason, says)


class PostgresRefuses(PostgresAway):
    """Transient: PostgreSQL answers and says no, until a person has mended it: a right, a table."""

    def __init__(self, reason: object) -> None:
        super().__init__(reason, "refuses")


class TablesMissing(PostgresRefuses):
    """Transient: PostgreSQL has no tables of this project, or older ones."""

    def __init__(self) -> None:
        super().__init__("it has no tables of this project, or older ones; run manage.py migrate")


class Poison(Exception):
    """Poison: this one thing can never succeed. The message is the reason it is parked with."""


class Refused(Exception):
    """The act cannot be done as asked. Nothing was changed. The message is for a person."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Fenced(Refused):
    """The lane is fenced, or is not the one that PostgreSQL knows: no act may change it."""


class NoSuchActivity(Refused):
    """The activity is not known, or not loaded in Redis."""


class VersionMoved(Refused):
    """Somebody else has steered since the caller looked. `found` is the version now."""

    def __init__(self, message: str, expected: int, found: int) -> None:
        super().__init__(message)
        self.expected, self.found = expected, found
