"""Section `lanes` of the file: the lanes beside `main`, and that no two of them collide.

Lane `main` has no entry: its values are those of the other sections. A lane's list in Redis follows
from its name (`seckill.formats.lanes`), so only topics and consumer groups can collide.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from seckill.config.addresses import check_redis_url
from seckill.config.kinds import REDIS_SCHEMES, Topic
from seckill.config.sections import ENV_PREFIX, Section
from seckill.formats.lanes import MAIN, check_lane_name

SECTION = "lanes"
# What is made beside a topic or a group has its name, and one of these behind it.
BESIDE_TOPIC = (".settle", ".dead", ".events")
BESIDE_GROUP = ("-settler", "-webhook-")


class LaneSection(Section):
    """`lanes`: lanes beside `main`, one entry `NAME:` each."""

    name: ClassVar[str] = SECTION
    redis_url: Annotated[
        str | None,
        Field(
            pattern=REDIS_SCHEMES,
            repr=False,
            description="Redis or Valkey of the lane; absent: that of lane main",
        ),
        AfterValidator(lambda url: url if url is None else check_redis_url(url)),
    ] = None
    topic: Topic
    group_id: str = Field(min_length=1, description="Kafka consumer group of the lane")


def redis_variable(lane: str) -> str:
    """The environment variable of a lane's Redis: passwords belong there."""
    return f"{ENV_PREFIX}LANE_{lane.upper().replace('-', '_')}_REDIS_URL"


def check_names(entries: Mapping[Any, Any]) -> None:
    """Raises ValueError unless the entries are lanes beside main, each with keys."""
    for name, values in entries.items():
        try:
            check_lane_name(str(name))
        except ValueError as wrong:
            raise ValueError(f"{SECTION}.{name}: {wrong}") from None
        if name == MAIN:
            raise ValueError(
                f"{SECTION}.{MAIN}: lane {MAIN} has the values of the other sections; set them "
                "there"
            )
        if not isinstance(values, dict):
            raise ValueError(f"{SECTION}.{name} must hold `key: value` lines: topic and group_id")


def collision(topics: Mapping[str, str], groups: Mapping[str, str]) -> str:
    """Which two lanes share a topic or a group, in words; "" if none do. Both are {lane: name}."""
    for what, names, beside in (
        ("topic", topics, BESIDE_TOPIC),
        ("group_id", groups, BESIDE_GROUP),
    ):
        for (one, first), (other, second) in combinations(names.items(), 2):
            shorter, longer = sorted((first, second), key=len)
            if shorter == longer or longer.startswith(tuple(shorter + end for end in beside)):
                return (
                    f"lanes {one} and {other} share {what} {shorter}: each would take what is the "
                    "other's; give each its own"
                )
    return ""
