"""PostgreSQL for code that runs in Django: what its errors mean, and a snapshot of one moment."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, connection, transaction

from seckill.errors import PostgresAway
from seckill.postgres.access import judged


@contextmanager
def postgres_errors() -> Iterator[None]:
    """Translate errors that mean no answer. Raises PostgresAway, or the error itself."""
    try:
        yield
    except DatabaseError as error:
        meaning = judged(error.__cause__ or error)
        if isinstance(meaning, PostgresAway):
            raise meaning from None
        raise
    except InterfaceError as away:
        raise PostgresAway(str(away).strip().splitlines()[0]) from None


@contextmanager
def snapshot() -> Iterator[None]:
    """A transaction that sees PostgreSQL as it is at its first statement."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
