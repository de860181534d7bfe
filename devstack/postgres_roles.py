"""The roles of a secured PostgreSQL: one owns the tables, the others have what they need.

The rights hold for tables that the owner makes later, too: whoever migrates grants nothing.
"""

import psycopg
from psycopg import sql

from seckill.config.rights import OWNER, POSTGRES


def give_rights(connection: psycopg.Connection, passwords: dict[str, str]) -> None:
    """Make the roles with their passwords and rights; harmless again. Raises psycopg.Error."""
    for role, password in passwords.items():
        name = sql.Identifier(role)
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        verb = sql.SQL("ALTER" if known else "CREATE")
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(password))
        )
    owner = sql.Identifier(OWNER)
    connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(owner))
    for role, grants in POSTGRES.items():
        for grant in grants:
            connection.execute(_statement(grant, role))
            if " ON ALL " in grant:
                connection.execute(
                    sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public {}").format(
                        owner, _statement(_of_later_ones(grant), role)
                    )
                )


def _of_later_ones(grant: str) -> str:
    """`... ON ALL TABLES IN SCHEMA public ...`, as it stands in a default."""
    return grant.replace(" ON ALL ", " ON ").replace(" IN SCHEMA public", "")


def _statement(grant: str, role: str) -> sql.Composed:
    return sql.SQL(grant).format(role=sql.Identifier(role))
