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

# {user of Redis: its line of `users.acl` behind the password}
REDIS: Mapping[str, str] = {
    "seckill": (
        "~seckill:logs ~seckill:logs:dead ~{seckill:logs}:* &control_channel "
        "-@all +ping +info +time +multi +exec +evalsha +eval +script|load +client|setinfo "
        "+publish +exists +get +getrange +set +unlink +del +rename +hget +hmget +hgetall +hvals "
        "+hset +hdel +hexists +hlen +hscan +lindex +llen +lpush +lrange +ltrim +sadd +scan "
        "+smembers +sismember +setrange +strlen +zadd +zcard +zcount +zmscore +zrange "
        "+zrangebyscore +zrem +zremrangebyrank +zremrangebyscore +wait"
    ),
}

# What the same user needs more in a cluster: where a lane's slot is.
REDIS_IN_CLUSTER = "+cluster|slots"

# {role of PostgreSQL: what the owner grants, {role} is its name}
POSTGRES: Mapping[str, tuple[str, ...]] = {
    "seckill_app": (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
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
    "run_door": Users("door", "seckill", "seckill_app"),
    "run_consumer": Users("consumer", "seckill", "seckill_app"),
    "run_log_worker": _APP,
    "run_settler": Users("settler", "seckill", "seckill_app"),
    "run_events": Users("events", "seckill", "seckill_app"),
    "run_webhooks": Users("webhooks", "seckill", None),
    "run_control_api": _APP,
    "audit": Users("operator", "seckill", "seckill_app"),
    "recover": Users("operator", "seckill", "seckill_app"),
    "report": Users("operator", "seckill", "seckill_app"),
    "dead_letters": Users("replay", "seckill", "seckill_app"),
}
