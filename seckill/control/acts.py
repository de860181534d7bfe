"""The table of acts: what the journal, the scripts, the doors and the texts call each of them.

Owns these names and nothing else. A new act is one row here, one script, its texts and its tests:
`tests/unit/control/test_table_of_acts.py` says what is missing.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# What a person needs to do an act. For an API key it is `can_steer`.
STEER_PERMISSION = "seckill.change_item"
# The fields of an act that changes items: one for each item, named by its id.
BY_ITEM = ("<item>",)
# The fields of an act that changes the rules of a sale, as the journal shows them.
RULES = ("name", "opens_at", "closes_at", "user_limit", "timeout", "hold_s")


@dataclass(frozen=True)
class ActKind:
    """One kind of act.

    name     in the journal, in `control_channel` and in every answer; never changed again
    text     its name for people
    script   `seckill/lua/<script>.lua`, which does it; "" if it does not touch Redis
    fields   what the old and new values in the journal are named
    command  after `manage.py`
    route    of the API, below /v1
    at_desk  whether the desk has a button for it
    """

    name: str
    text: Promise
    script: str
    fields: tuple[str, ...]
    command: str
    route: str
    at_desk: bool = True


_ONE = "/activities/{activity_id}"

SET_STOCK = ActKind(
    "set_stock", _("Set stock"), "set_stock", BY_ITEM, "set_stock", f"{_ONE}/set_stock"
)
ADD_STOCK = ActKind(
    "add_stock", _("Add units"), "add_stock", BY_ITEM, "add_stock", f"{_ONE}/add_stock"
)
PAUSE = ActKind("pause", _("Pause"), "pause", ("paused",), "pause", f"{_ONE}/pause")
RESUME = ActKind("resume", _("Resume"), "pause", ("paused",), "resume", f"{_ONE}/resume")
FINISH = ActKind("finish_activity", _("Finish"), "finish", ("over",), "finish", f"{_ONE}/finish")
REOPEN = ActKind("reopen", _("Reopen"), "reopen", ("over",), "reopen", f"{_ONE}/reopen")
CONFIGURE = ActKind("configure", _("Change rules"), "configure", RULES, "activity set", _ONE)
SYNC = ActKind(
    "sync_from_db",
    _("Sync from the database"),
    "sync",
    BY_ITEM,
    "sync_from_db",
    f"{_ONE}/sync_from_db",
)
CREATE = ActKind(
    "create_activity", _("Create an activity"), "", RULES, "activity create", "/activities"
)
# Of a sale over several lanes.
SPLIT = ActKind(
    "split_activity",
    _("Split over lanes"),
    "split",
    ("lanes", "parts"),
    "activity split",
    f"{_ONE}/split",
    at_desk=False,
)
TAKE_STOCK = ActKind(
    "take_stock",
    _("Take units"),
    "take_stock",
    BY_ITEM,
    "activity balance",
    f"{_ONE}/balance",
    at_desk=False,
)

ACTS = {
    kind.name: kind
    for kind in (
        SET_STOCK,
        ADD_STOCK,
        PAUSE,
        RESUME,
        FINISH,
        REOPEN,
        CONFIGURE,
        SYNC,
        CREATE,
        SPLIT,
        TAKE_STOCK,
    )
}


# What the journal calls a late payment that a person has settled. It changes no sale.
LATE_PAYMENT = "late_payment"
# And an activity that was archived with its season.
ARCHIVE = "archive"


def act_text(name: str) -> str:
    """An act's name for people. A name that is not in the table stands for itself."""
    if name == LATE_PAYMENT:
        return str(_("Late payment settled"))
    if name == ARCHIVE:
        return str(_("Archived"))
    kind = ACTS.get(name)
    return str(kind.text) if kind else name
