"""The names of all keys in Redis, in one place.

All keys of a sale are permanent: they have no TTL, and a person deletes them with the sale. Only
the buckets of the rate limit expire. The braces put all keys of a lane into the hash slot of its
list in a Redis Cluster.
"""

from dataclasses import dataclass

from seckill.formats.lanes import MAIN_LIST, lane_of, list_of

DEFAULT_LIST = MAIN_LIST
CONTROL_CHANNEL = "control_channel"
# Offsets in one string of the board, one byte each.
BOARD_STRING = 65_536
# The one field of buyers and clicks that is neither: see lua/include/staged.lua.
MARK = b""


@dataclass(frozen=True)
class ActivityKeys:
    """The keys of one activity in one lane."""

    state: str
    stock: str
    loaded: str
    stats: str
    buyers: str
    # Written by a recount of buyers, until a script takes it over: see `seckill.control.staging`.
    new_buyers: str
    # Hash: `click` -> source:partition:offset of the accepted request.
    clicks: str
    # As `new_buyers`.
    new_clicks: str
    # Hash: name of a block (source:partition:number) -> its holds, see `seckill.lane.held`.
    held: str
    # Sorted set: name of a block, its score the time when its earliest hold is due, ms.
    due: str
    # As `new_buyers`.
    new_held: str
    new_due: str


@dataclass(frozen=True)
class Lane:
    """A list of records and the keys beside it. `list` is the full name of the list's key."""

    list: str = DEFAULT_LIST

    @classmethod
    def named(cls, name: str) -> "Lane":
        """The lane of this name. Raises ValueError if a lane must not have it."""
        return cls(list_of(name))

    @property
    def name(self) -> str:
        """What configuration, flags and PostgreSQL call it."""
        return lane_of(self.list)

    @property
    def dead(self) -> str:
        """List: records that earlier versions could not store. It is only read and emptied; such
        records are in PostgreSQL now.
        """
        return f"{self.list}:dead"

    @property
    def activities(self) -> str:
        """Set: ids of the loaded activities. If it is missing, Redis is empty."""
        return f"{{{self.list}}}:activities"

    @property
    def positions(self) -> str:
        """Hash: source:partition -> next offset to decide."""
        return f"{{{self.list}}}:positions"

    @property
    def stored(self) -> str:
        """Hash: source:partition -> the offset after its last record in PostgreSQL."""
        return f"{{{self.list}}}:stored"

    @property
    def stats(self) -> str:
        """Hash: outcomes that belong to no activity, and counts of offsets without a request."""
        return f"{{{self.list}}}:stats"

    @property
    def settle_positions(self) -> str:
        """Hash: source:partition of the settle topic -> next offset to settle."""
        return f"{{{self.list}}}:settle:positions"

    @property
    def settle_stats(self) -> str:
        """Hash: settle messages by outcome, and counts of offsets without a message."""
        return f"{{{self.list}}}:settle:stats"

    @property
    def settle_read(self) -> str:
        """Hash: source:partition of the settle topic -> ms of Redis's time: all that Kafka had
        acknowledged before is settled.
        """
        return f"{{{self.list}}}:settle:read"

    @property
    def waited(self) -> str:
        """Hash that is deleted as soon as it is set: what a new connection writes, to wait for
        replicas.
        """
        return f"{{{self.list}}}:waited"

    @property
    def audit(self) -> str:
        """Hash: the verdict of the last audit, see `seckill.audit.verdict`."""
        return f"{{{self.list}}}:audit"

    @property
    def audit_turn(self) -> str:
        """String with a TTL: the log worker that audits, or has just done so."""
        return f"{{{self.list}}}:audit:turn"

    @property
    def series(self) -> str:
        """Sorted set: samples of the lane, at most one per second, in bounded number."""
        return f"{{{self.list}}}:series"

    @property
    def workers(self) -> str:
        """Hash: worker -> the content of its last heartbeat."""
        return f"{{{self.list}}}:workers"

    @property
    def beats(self) -> str:
        """Sorted set: worker -> time of its last heartbeat. Silent workers are removed."""
        return f"{{{self.list}}}:beats"

    @property
    def state(self) -> str:
        """Hash: the identity of this Redis's lane, and the fence.

        `identity` of the lane; `generation`: how often the lane was rebuilt; `term`: the term in
        which this Redis leads it; `clock`: the highest time seen, in ms; `trims`: how many batches
        were trimmed from the list; `parked`: how many dead records PostgreSQL keeps.
        `fenced`, `fenced_at`, `fenced_why`, `fence_token`: set while the lane is fenced.
        """
        return f"{{{self.list}}}:lane"

    def board(self, source: str, partition: int, number: int) -> str:
        """String: the outcomes of the BOARD_STRING offsets from number * BOARD_STRING on."""
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
            clicks=f"{prefix}:clicks",
            new_clicks=f"{prefix}:clicks:new",
            held=f"{prefix}:held",
            due=f"{prefix}:due",
            new_held=f"{prefix}:held:new",
            new_due=f"{prefix}:due:new",
        )


def position_field(source: str, partition: int) -> str:
    """The field of a partition in the hash of positions."""
    return f"{source}:{partition}"


def rate_bucket(caller: str) -> str:
    """String with a TTL: how full a caller's rate bucket is. All are in the default lane's slot."""
    return f"{{{DEFAULT_LIST}}}:rate:{caller}"
