"""The rights that `docs/security.md` shows are those of `seckill.config.rights`."""

import re

from seckill.config.layers import BASE_DIR
from seckill.config.rights import COMMANDS, KAFKA, POSTGRES, REDIS, Right

PAGE = (BASE_DIR / "docs" / "security.md").read_text()


def chapter(title: str) -> str:
    """The text below one heading."""
    parts = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    [found] = [part for part in parts if part.startswith(title)]
    return found


def rows(title: str) -> list[str]:
    """The rows of a chapter's table, without its head."""
    return [line for line in chapter(title).splitlines() if line.startswith("| ")][1:]


def row_of(user: str, right: Right) -> str:
    """A right as the page shows it."""
    name = right.named("<topic>", "<group_id>")
    return f"| `{user}` | {right.kind} `{name}` | {', '.join(right.verbs)} | {right.why} |"


def test_kafka() -> None:
    shown = [row_of(user, right) for user, rights in KAFKA.items() for right in rights]
    assert rows("Kafka") == shown


def test_redis() -> None:
    lines = [line.strip() for line in chapter("Redis").splitlines() if line.startswith("    ")]
    text = " ".join(lines)
    assert text == " ".join(f"user {user} on >PASSWORD {rules}" for user, rules in REDIS.items())


def test_postgresql() -> None:
    lines = [line.strip() for line in chapter("PostgreSQL").splitlines() if line[:4] == "    "]
    assert lines == [grant.format(role=r) for r, grants in POSTGRES.items() for grant in grants]


def test_commands() -> None:
    shown = [
        f"| `{command}` | {users.kafka or '-'} | {users.redis or '-'} | {users.postgres or '-'} |"
        for command, users in COMMANDS.items()
    ]
    assert rows("Which command") == shown
    for users in COMMANDS.values():
        assert users.kafka in (None, *KAFKA)
        assert users.redis in (None, *REDIS)
