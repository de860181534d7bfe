"""The names of all keys in Redis, in one place. Imports nothing of ours.

Every key is permanent: it goes with its sale, by hand, and no key of the sale has a TTL. Only the
buckets of the rate limit go by themselves.
The braces put all keys of a lane into the slot of its list in a Redis Cluster.
"""

from dataclasses import dataclass

DEFAULT_LIST = "seckill:logs"
CONTROL_CHANNEL = "control_channel"


@dataclass(frozen=True)
class ActivityKeys:
    """The keys of one activity in one lane."""

    state: str
    stock: str
    loaded: str
    stats: str
    buyers: str
    # Written by a count, until a script takes it in: see `seckill.buyers`.
    new_buyers: str


@dataclass(frozen=True)
class Lane:
    """A list of records and the keys that live beside it. `list` is the list's own name."""

    list: str = DEFAULT_LIST

    @property
    def dead(self) -> str:
        """List: records that could not be stored, each with its reason."""
        return f"{self.list}:dead"

    @property
    def activities(self) -> str:
        """Set: ids of the loaded activities. Missing means that Redis is empty."""
        return f"{{{self.list}}}:activities"

    @property
    def positions(self) -> str:
        """Hash: source:partition to the next offset to decide."""
        return f"{{{self.list}}}:positions"

    @property
    def stats(self) -> str:
        """Hash: outcomes that belong to no activity, and offsets that held no request."""
        return f"{{{self.list}}}:stats"

    @property
    def audit(self) -> str:
        """Hash: the verdict of the last audit, see `seckill.last_audit`."""
        return f"{{{self.list}}}:audit"

    @property
    def series(self) -> str:
        """Sorted set: samples of the lane, one a second at most, bounded."""
        return f"{{{self.list}}}:series"

    @property
    def workers(self) -> str:
        """Hash: worker to what it said of itself with its last heartbeat."""
        return f"{{{self.list}}}:workers"

    @property
    def beats(self) -> str:
        """Sorted set: worker to the time of its last heartbeat; the silent are dropped."""
        return f"{{{self.list}}}:beats"

    @property
    def state(self) -> str:
        """Hash: `generation`, how often the lane was rebuilt; `fenced`, `fenced_at`, `fenced_why`.

        While it is fenced nothing is decided.
        """
        return f"{{{self.list}}}:lane"

    def activity(self, activity_id: int) -> ActivityKeys:
        """The keys of one activity."""
        prefix = f"{{{self.list}}}:{activity_id}"
        return ActivityKeys(
            state=f"{prefix}:state",
            stock=f"{prefix}:stock",
            loaded=f"{prefix}:loaded",
            stats=f"{prefix}:stats",
            buyers=f"{prefix}:buyers",
            new_buyers=f"{prefix}:buyers:new",
        )


def position_field(source: str, partition: int) -> str:
    """The field of a partition in the hash of positions."""
    return f"{source}:{partition}"


def rate_bucket(caller: str) -> str:
    """String with a TTL: how full a caller's share of the control API is. All in one slot."""
    return f"{{seckill:rate}}:{caller}"
