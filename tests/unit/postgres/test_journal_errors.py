"""What an error of PostgreSQL means to an act: Django wraps those of psycopg."""

import django.db
import psycopg
import pytest

from seckill.errors import PostgresAway, PostgresRefuses
from seckill.postgres.through_django import postgres_errors

CUT = psycopg.OperationalError("server closed the connection\n\tThis probably means the server")


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """What becomes of it."""
    with pytest.raises(Exception) as found, postgres_errors():
        raise error from cause
    return found.value


@pytest.mark.parametrize(
    "error",
    [
        (django.db.OperationalError("wrapped"), CUT),
        (django.db.InterfaceError(str(CUT)), None),
    ],
)
def test_it_is_away(error: tuple[Exception, Exception | None]) -> None:
    """Told in one line."""
    found = raised(*error)
    assert type(found) is PostgresAway
    assert str(found) == "PostgreSQL is away: server closed the connection"


def test_it_refuses() -> None:
    wrapped = django.db.ProgrammingError("wrapped")
    found = raised(wrapped, psycopg.errors.InsufficientPrivilege("permission denied for table x"))
    assert isinstance(found, PostgresRefuses)


def test_what_is_neither_is_itself() -> None:
    for wrong in (
        django.db.IntegrityError("wrapped"),
        django.db.DatabaseError("by Django itself"),
        ValueError("no error of a database"),
    ):
        assert raised(wrong, psycopg.errors.UniqueViolation("twice")) is wrong
        assert raised(wrong) is wrong
