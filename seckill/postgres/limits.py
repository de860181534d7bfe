"""What counts at a moment T, as SQL: what lies before the positions that Redis had then."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID


def positions_by_partition(positions: Mapping[str, int]) -> dict[tuple[UUID, int], int]:
    """Positions as Redis names them, as {(source, partition): offset}."""
    result = {}
    for name, offset in positions.items():
        source, _, partition = name.rpartition(":")
        result[UUID(source), int(partition)] = offset
    return result


def limits_sql(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """SQL for the positions as a table p (source, partition, next); and its arguments."""
    limits = positions_by_partition(positions)
    return (
        "unnest(%s::uuid[], %s::int[], %s::bigint[]) AS p(source, partition, next)",
        [
            [source for source, _ in limits],
            [partition for _, partition in limits],
            list(limits.values()),
        ],
    )
