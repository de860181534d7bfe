"""The names of all keys in Redis, in one place. Imports nothing of ours.

Every key is permanent: it goes with its sale, by hand, and no key of the sale has a TTL. Only the
buckets of the rate limit go by themselves.
The braces put all keys of a lane into the slot of its list in a Redis Cluster.
"""

from dataclasses import dataclass

DEFAULT_LIST = "seckill:logs"
CONTROL_CHANNEL = "control_channel"
# Offsets in one string of the board: a byte each.
BOARD_STRING = 65_536
# The field of the buyers' hash that is no buyer: see lua/include/buyers.lua.
BUYERS_MARK = b""


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
        """List: where earlier versions kept records that could not be stored. Only read and
        emptied: they stand in PostgreSQL now.
        """
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
    def stored(self) -> str:
        """Hash: source:partition to the offset after the last record of it that PostgreSQL has."""
        return f"{{{self.list}}}:stored"

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
        """Hash: what this Redis is, and the fence.

        `identity` of the lane; `generation`, how often it was rebuilt; `term`, in which this Redis
        leads it; `clock`, the highest time that it has seen, ms; `trims`, how many batches were
        taken off the list; `parked`, how many records PostgreSQL keeps apart.
        `fenced`, `fenced_at`, `fenced_why`, `fence_token`: while it is fenced nothing is decided.
        """
        return f"{{{self.list}}}:lane"

    def board(self, source: str, partition: int, number: int) -> str:
        """String: the outcomes of BOARD_STRING offsets from number * BOARD_STRING on, a byte
        each.
        """
        return f"{{{self.list}}}:board:{source}:{partition}:{number}"

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
