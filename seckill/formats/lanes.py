"""The names of lanes, and the list of each in Redis. Imports nothing of ours.

The name makes the list, so two lanes never share one, in whichever Redis they live.
"""

import re

# The lane that is always there, and the one of an activity that names none.
MAIN = "main"
MAIN_LIST = "seckill:logs"
LANE_NAME = r"[a-z0-9][a-z0-9-]{0,31}"
# What commands call all of them together.
ALL = "all"
# Names that are taken: as a list it would be that of main's dead records, or it means all of them.
TAKEN = ("dead", ALL)


def check_lane_name(name: str) -> str:
    """The name unchanged. Raises ValueError if a lane must not have it."""
    if not re.fullmatch(LANE_NAME, name) or name in TAKEN:
        raise ValueError(
            "a lane's name is 1 to 32 of a-z 0-9 -, begins with no dash, and is not "
            + " or ".join(TAKEN)
        )
    return name


def cache_of(name: str) -> str:
    """The alias of a lane's Redis in Django's settings."""
    return "default" if name == MAIN else f"lane-{name}"


def list_of(name: str) -> str:
    """The key of a lane's list. Raises ValueError, as `check_lane_name`."""
    return MAIN_LIST if name == MAIN else f"{MAIN_LIST}:{check_lane_name(name)}"


def lane_of(key: str) -> str:
    """The name of the lane whose list this is."""
    return MAIN if key == MAIN_LIST else key.removeprefix(f"{MAIN_LIST}:")
