"""A partition for a new topic, before its first order. Made beside the sale: nobody waits."""

import psycopg

from seckill.postgres.seasons import TABLE, season_of
from seckill.seasons.tables import Say, create_partition, refuse_unless_partitioned, shortly


def begin(connection: psycopg.Connection, source: str, say: Say) -> str | None:
    """The name of the new partition; None: the topic has one.

    The connection is `owners_connection`'s. Raises Refused, PostgresAway, psycopg.Error.
    """
    refuse_unless_partitioned(connection)
    if season_of(connection.cursor(), source) is not None:
        return None
    name = f"{TABLE}_{source.replace('-', '')}"
    shortly(connection, lambda: create_partition(connection, name, [source]), say)
    return name
