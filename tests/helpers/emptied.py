"""Tables emptied after a test: Django's way takes 0.1 s, and makes its own rows again each time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import TransactionTestCase

# What migrations fill. No test changes it, or all of it is made again.
FILLED = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")
COUNT = "SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in FILLED)
# Locked first, as by TRUNCATE: nobody's open transaction adds rows later. That alone is slow for a
# small table, and DELETE for a large one.
EMPTY = f"""
DO $$ DECLARE name text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('django_migrations', {", ".join(map(repr, FILLED))})
    LOOP
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', name);
        IF pg_relation_size(name::regclass) > 1000000 THEN
            EXECUTE format('TRUNCATE %s CASCADE', name);
        ELSE
            EXECUTE format('DELETE FROM %s', name);
        END IF;
    END LOOP;
END $$
"""


def counted() -> Any:
    """How many rows there are of what migrations fill."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT)
        return cursor.fetchone()


@contextmanager
def emptied_quickly(filled: Any) -> Iterator[None]:
    """In this block tests leave their database empty, as Django does, but for what is `filled`."""
    as_django: Callable[[TransactionTestCase], None] = TransactionTestCase._fixture_teardown

    def teardown(case: TransactionTestCase) -> None:
        if counted() != filled:
            as_django(case)
            return
        with connection.cursor() as cursor:
            cursor.execute(EMPTY)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield
