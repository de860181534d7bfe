"""What each command may do in Kafka, Redis and PostgreSQL: the least that it needs.

The one source: `docs/security.md` shows these tables, `devstack up --secured` gives these rights
and no more, and a test carries a whole sale with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Right:
    """What a user may do with one topic or group of Kafka. `*` ends a name's beginning."""

    kind: Literal["topic", "group"]
    # With `{topic}` and `{group}` of the configuration.
    name: str
    verbs: tuple[str, ...]
    why: str
    # Not needed where somebody else makes the topic beforehand.
    makes: bool = False

    def named(self, topic: str, group: str) -> str:
        """The name for a sale's topic and group."""
        return self.name.format(topic=topic, group=group)


_MAKES = "makes it where it is missing"
_READS = Right("topic", "{topic}", ("READ",), "reads requests")
_SENDS = Right("topic", "{topic}", ("WRITE",), "sends requests")
_MAKES_REQUESTS = Right("topic", "{topic}", ("CREATE",), _MAKES, makes=True)
# {user of Kafka: its rights}
KAFKA: Mapping[str, tuple[Right, ...]] = {
    "loadgen": (_SENDS,),
    "door": (
        _SENDS,
        Right("topic", "{topic}.settle", ("WRITE",), "sends settlements"),
    ),
    "consumer": (
        _READS,
        Right("group", "{group}", ("READ",), "is a member and commits"),
        Right("topic", "{topic}.dead", ("WRITE",), "sends dead letters"),
        _MAKES_REQUESTS,
        Right("topic", "{topic}.dead", ("CREATE",), _MAKES, makes=True),
    ),
    "settler": (
        Right("topic", "{topic}.settle", ("READ",), "reads settlements"),
        Right("group", "{group}-settler", ("READ",), "is a member and commits"),
        Right("topic", "{topic}.settle.dead", ("WRITE",), "sends dead letters"),
        Right("topic", "{topic}", ("DESCRIBE",), "makes as many partitions"),
        _MAKES_REQUESTS,
        Right("topic", "{topic}.settle", ("CREATE",), _MAKES, makes=True),
        Right("topic", "{topic}.settle.dead", ("CREATE",), _MAKES, makes=True),
    ),
    "events": (
        Right("topic", "{topic}.events", ("WRITE",), "publishes"),
        Right("topic", "{topic}", ("DESCRIBE",), "makes as many partitions"),
        _MAKES_REQUESTS,
        Right("topic", "{topic}.events", ("CREATE",), _MAKES, makes=True),
    ),
    "webhooks": (
        Right("topic", "{topic}.events", ("READ",), "reads events"),
        Right("group", "{group}-webhook-*", ("READ",), "is a member and commits"),
        Right("topic", "{topic}.events.dead", ("READ", "WRITE"), "parks events, posts them again"),
        Right("topic", "{topic}", ("DESCRIBE",), "makes as many partitions"),
        _MAKES_REQUESTS,
        Right("topic", "{topic}.events", ("CREATE",), _MAKES, makes=True),
        Right("topic", "{topic}.events.dead", ("CREATE",), _MAKES, makes=True),
    ),
    "operator": (
        Right("topic", "{topic}", ("READ",), "compares orders with requests"),
        Right("topic", "{topic}.settle", ("READ",), "reads what became of holds"),
        Right("topic", "{topic}.events", ("READ",), "compares events with orders"),
    ),
    "replay": (
        Right(
            "topic", "{topic}.dead", ("READ", "WRITE"), "reads letters, marks what is sent again"
        ),
        Right("topic", "{topic}.settle.dead", ("READ", "WRITE"), "the same for settlements"),
        Right(
            "topic", "{topic}", ("READ", "WRITE"), "sends again; reads what was too long to park"
        ),
        Right("topic", "{topic}.settle", ("READ", "WRITE"), "the same for settlements"),
        Right("topic", "{topic}.events.dead", ("DESCRIBE",), "counts what webhooks gave up"),
    ),
}

_KEYS = "~seckill:logs ~seckill:logs:dead ~{seckill:logs}:*"
_CALLS = "-@all +ping +info +time +multi +exec +evalsha +eval +script|load +client|setinfo"
_LOOKS = (
    "+exists +get +getrange +hget +hmget +hgetall +hvals +hexists +hlen +hscan +lindex +llen "
    "+lrange +scan +smembers +sismember +strlen +zcard +zcount +zmscore +zrange +zrangebyscore"
)
# Deciding and settling: counters, boards, the list of records, holds that end, the history.
_DECIDES = "+publish +hset +hdel +setrange +lpush +zadd +zrem +zremrangebyrank +zremrangebyscore"
# Whoever only reads has a heartbeat, and writes nothing else.
_BEATS = "(~{seckill:logs}:workers ~{seckill:logs}:beats +hset +hdel +zadd +zrem)"
# {user of Redis: its line of `users.acl` behind the password}
REDIS: Mapping[str, str] = {
    "seckill": (
        f"{_KEYS} &control_channel {_CALLS} {_LOOKS} {_DECIDES} "
        "+set +unlink +del +rename +ltrim +sadd +wait"
    ),
    "consumer": f"{_KEYS} &control_channel {_CALLS} {_LOOKS} {_DECIDES} +wait",
    "settler": f"{_KEYS} &control_channel {_CALLS} {_LOOKS} {_DECIDES}",
    "log_worker": f"{_KEYS} {_CALLS} {_LOOKS} +hset +hdel +ltrim +set +zadd +zrem",
    "door": f"{_KEYS} {_CALLS} {_LOOKS} {_BEATS}",
    "events": f"{_KEYS} {_CALLS} {_LOOKS} {_BEATS}",
    "webhooks": f"{_KEYS} {_CALLS} {_LOOKS} {_BEATS}",
}

# What the same user needs more in a cluster: where a lane's slot is.
REDIS_IN_CLUSTER = "+cluster|slots"


def redis_commands(user: str) -> frozenset[str]:
    """The commands of Redis that a user may run anywhere in its lane, in upper case."""
    words = REDIS[user].partition("(")[0].split()
    return frozenset(word[1:].upper() for word in words if word.startswith("+"))


# {role of PostgreSQL: what the owner grants, {role} is its name}
POSTGRES: Mapping[str, tuple[str, ...]] = {
    "seckill_app": (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ),
    "seckill_reader": (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    ),
}


@dataclass(frozen=True)
class Users:
    """With whose rights a command runs; None where it does not use the service."""

    kafka: str | None = None
    redis: str | None = None
    postgres: str | None = None


OWNER = "seckill_owner"
_APP = Users(None, "seckill", "seckill_app")

# {command: its users}. A command that is not here asks Kafka nothing and is as `run_control_api`.
COMMANDS: Mapping[str, Users] = {
    "migrate": Users(postgres=OWNER),
    "run_loadgen": Users("loadgen"),
    "run_door": Users("door", "door", "seckill_reader"),
    "run_consumer": Users("consumer", "consumer", "seckill_app"),
    "run_log_worker": Users(None, "log_worker", "seckill_app"),
    "run_settler": Users("settler", "settler", "seckill_app"),
    "run_events": Users("events", "events", "seckill_app"),
    "run_webhooks": Users("webhooks", "webhooks", None),
    "run_control_api": _APP,
    "audit": Users("operator", "seckill", "seckill_app"),
    "recover": Users("operator", "seckill", "seckill_app"),
    "report": Users("operator", "seckill", "seckill_app"),
    "dead_letters": Users("replay", "seckill", "seckill_app"),
    "seasons": Users("operator", "seckill", OWNER),
}
