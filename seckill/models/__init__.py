"""The tables, and the constraints that carry the invariants.

Only the log worker writes `Record`, `Settlement` and `LatePayment` rows, `Item.sold` and
`Item.returned`, in one transaction. `seckill.control.control` writes everything else.
"""

from seckill.models.activities import MAX_HOLD_S, Activity, Item
from seckill.models.api_keys import ApiKey
from seckill.models.dead_records import DeadRecord
from seckill.models.journal import Move, StockChange
from seckill.models.lanes import EventCursor, Lane, Lease
from seckill.models.orders import LatePayment, Record, Settlement

__all__ = [
    "MAX_HOLD_S",
    "Activity",
    "ApiKey",
    "DeadRecord",
    "EventCursor",
    "Item",
    "Lane",
    "LatePayment",
    "Lease",
    "Move",
    "Record",
    "Settlement",
    "StockChange",
]
