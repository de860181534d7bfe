"""A season's rows in files, each read back and compared before anything is taken away.

Owns the form: text as COPY writes it, a line for each row, packed with gzip; and a manifest in JSON
beside them, with the columns, the rows and the SHA-256 of each file.
"""

import gzip
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from seckill.errors import Refused

READ = 1 << 20
COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""


@dataclass(frozen=True)
class Exported:
    """One file. `sha256` is of the file, `content_sha256` of the text that it holds."""

    file: str
    table: str
    columns: list[str]
    rows: int
    sha256: str
    content_sha256: str


def export(
    connection: psycopg.Connection, table: str, relation: str, sources: list[str], path: Path
) -> Exported:
    """Write the rows of these topics. `relation` is the table or its partition.

    Call it in a transaction that sees one moment. Raises Refused if the file does not have every
    row afterwards, OSError.
    """
    row = connection.execute(COLUMNS, (relation,)).fetchone()
    columns: list[str] = row[0] if row else []
    chosen = sql.SQL("FROM {} WHERE source = ANY({}::uuid[])").format(
        sql.Identifier(relation), sql.Literal(sources)
    )
    counted = connection.execute(sql.SQL("SELECT count(*) {}").format(chosen)).fetchone()
    rows = int(counted[0]) if counted else 0
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    written = hashlib.sha256()
    with path.open("xb") as file:
        # No name and no time in it: the same rows are the same file.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed,
            connection.cursor() as cursor,
            cursor.copy(
                sql.SQL("COPY (SELECT {} {} ORDER BY id) TO STDOUT").format(names, chosen)
            ) as copy,
        ):
            for part in copy:
                written.update(part)
                packed.write(part)
        file.flush()
        os.fsync(file.fileno())
    found = read_back(path)
    if found != (rows, written.hexdigest()):
        raise Refused(
            f"{path} has {found[0]:,} rows of {rows:,} when it is read back, or other ones: the "
            "disk is not to be trusted. Nothing was taken away"
        )
    return Exported(path.name, table, columns, rows, _sha256(path), written.hexdigest())


def read_back(path: Path) -> tuple[int, str]:
    """The rows of a file, and the SHA-256 of its content."""
    rows, digest = 0, hashlib.sha256()
    with gzip.open(path, "rb") as file:
        while part := file.read(READ):
            rows += part.count(b"\n")
            digest.update(part)
    return rows, digest.hexdigest()


def write_manifest(path: Path, files: list[Exported], **more: Any) -> None:
    """The manifest: it is there if all of the files are, and are right."""
    text = json.dumps({**more, "files": [asdict(file) for file in files]}, indent=2, default=str)
    with path.open("x", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
