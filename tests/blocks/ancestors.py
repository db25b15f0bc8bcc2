"""Databases and objects of a Qabel block server, as its four revisions left them, made by hand."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from os import utime
from pathlib import Path
from typing import Final

import psycopg
from psycopg.rows import TupleRow

OBJECTS: Final = {
    "a1b2c3d4-0000-4000-8000-000000000001/index": b"what a client knows of its files",
    "a1b2c3d4-0000-4000-8000-000000000001/blocks/1": b"first block",
    "a1b2c3d4-0000-4000-8000-000000000002/blocks/1": b"first block",
    "a1b2c3d4-0000-4000-8000-000000000003/blocks/2": b"",
    "nobodys/x": b"written with a dummy account",
}
WRITTEN: Final = datetime(2016, 5, 20, 12)

_FIRST: Final = """
    CREATE TABLE users (
        user_id integer PRIMARY KEY,
        max_quota integer DEFAULT 16777216,
        download_traffic bigint DEFAULT 0,
        size bigint DEFAULT 0
    );
    CREATE TABLE prefixes (name varchar(36) PRIMARY KEY, user_id integer NOT NULL);
    INSERT INTO users (user_id, download_traffic, size) VALUES (5, 1000, 43), (7, 0, -99);
    INSERT INTO prefixes VALUES
        ('a1b2c3d4-0000-4000-8000-000000000001', 5),
        ('a1b2c3d4-0000-4000-8000-000000000002', 5),
        ('a1b2c3d4-0000-4000-8000-000000000003', 8);
"""
_LATER: Final = (
    """
    ALTER TABLE users ALTER max_quota TYPE bigint, ALTER max_quota SET DEFAULT 2147483648;
    UPDATE users SET max_quota = 2147483648;
    UPDATE users SET max_quota = 5000000000 WHERE user_id = 7;
    """,
    "ALTER TABLE users DROP max_quota;",
    """
    CREATE TABLE traffic (
        user_id integer,
        traffic_month date CHECK (date_trunc('month', traffic_month) = traffic_month),
        traffic bigint,
        CONSTRAINT pk_traffic PRIMARY KEY (user_id, traffic_month)
    );
    INSERT INTO traffic SELECT user_id, '2016-05-01', download_traffic FROM users;
    INSERT INTO traffic VALUES (5, '2016-04-01', 4294967296), (9, '2016-05-01', 3);
    ALTER TABLE users DROP download_traffic;
    """,
)


def make_ancestor(url: str, revision: int) -> None:
    """Fill the empty database at `url` with what a block server of that revision, 1 to 4, had."""
    with closing(connected(url)) as connection:
        for statements in (_FIRST, *_LATER[: revision - 1]):
            connection.execute(statements.encode())
        connection.commit()


def connected(url: str) -> psycopg.Connection[TupleRow]:
    """A connection to a database by the URL that SQLAlchemy has for it."""
    return psycopg.connect(url.replace("+psycopg", ""))


def rows_in(url: str) -> dict[str, list[TupleRow]]:
    """All that is in the database."""
    with closing(connected(url)) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2".encode()).fetchall()
            for (name,) in names
        }


def write_objects(root: Path) -> None:
    """The objects as files."""
    for key, content in OBJECTS.items():
        write_object(root, key, content)


def write_object(root: Path, key: str, content: bytes, written: datetime = WRITTEN) -> None:
    """One object, written at a time of UTC."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    seconds = written.replace(tzinfo=UTC).timestamp()
    utime(path, (seconds, seconds))
