"""Databases as FPX leaves them, of any of its revisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import NullPool, create_engine, text

from meteorpi_db.dialects.choice import parse_db_path

MADE = datetime(2021, 11, 5, 12, 44, 46)

# The three revisions of FPX 0.8, in the words that its migration tool makes of them.
REVISIONS = (
    "CREATE TABLE clients (id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE)",
    "CREATE TABLE tickets (id VARCHAR NOT NULL PRIMARY KEY, type VARCHAR NOT NULL, content TEXT NOT NULL, "
    "is_available BOOLEAN NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    "ALTER TABLE tickets ADD COLUMN options JSON DEFAULT '{}' NOT NULL",
)


def make_fpx_database(
    db_path: str,
    clients: Mapping[str, str],
    tickets: Iterable[Mapping[str, Any]] = (),
    *,
    revisions: int = len(REVISIONS),
) -> None:
    """Make the tables and fill them.

    `clients` are secrets by name. A ticket has an ``id`` and ``content``, as text or as the value that it is
    to be the text of, and may have ``type`` and ``options``.
    """
    engine = create_engine(parse_db_path(db_path), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in REVISIONS[:revisions]:
            connection.execute(text(statement))
        for name, secret in clients.items():
            values = {"id": secret, "name": name}
            connection.execute(text("INSERT INTO clients (id, name) VALUES (:id, :name)"), values)
        for number, ticket in enumerate(tickets):
            content = ticket["content"]
            row = {
                "id": ticket["id"],
                "type": ticket.get("type", "zip"),
                "content": content if isinstance(content, str) else json.dumps(content),
                "is_available": True,
                "created_at": (MADE + timedelta(minutes=number)).isoformat(" "),
            }
            if revisions > 2:
                row["options"] = json.dumps(ticket.get("options", {}))
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            if engine.dialect.name == "postgresql":
                marks = marks.replace(":created_at", "CAST(:created_at AS TIMESTAMP)")
                marks = marks.replace(":options", "CAST(:options AS JSON)")
            connection.execute(text(f"INSERT INTO tickets ({names}) VALUES ({marks})"), row)
    engine.dispose()
