"""The different values of a column that an index begins with, by one step down it for each value.

PostgreSQL's own DISTINCT reads every row.
"""


def distinct_sql(table: str, column: str) -> str:
    """SQL for the values, as column `value`. Neither name is quoted here."""
    return f"""
WITH RECURSIVE found AS (
    (SELECT {column} AS value FROM {table} ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT r.{column} FROM {table} AS r WHERE r.{column} > found.value
        ORDER BY r.{column} LIMIT 1)
    FROM found WHERE found.value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL
"""
