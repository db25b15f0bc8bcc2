"""What a database of FPX holds, read without changing it: clients with their secrets, and tickets.

Source:
    The tables ``clients(id, name)`` and ``tickets(id, type, content, options, is_available, created_at)`` of
    FPX up to 0.8; the identity of a client is its secret, and ``options`` came with the third revision. A
    ticket is there until its first download begins, so that all that are there are good.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Connection,
    NullPool,
    Row,
    String,
    Text,
    column,
    create_engine,
    exc,
    inspect,
    select,
    table,
)

from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, NotFoundError, UnavailableError

_DRIVER: Final = re.compile(r"(?<=^postgresql)\+\w+(?=:)|(?<=^sqlite)\+\w+(?=:)")
_CLIENTS: Final = table("clients", column("id", String), column("name", String))
_TICKETS: Final = table(
    "tickets",
    column("id", String),
    column("type", String),
    column("content", Text),
    column("options", JSON),
    column("created_at"),
)


@dataclass(frozen=True, kw_only=True)
class FpxClient:
    """A client.

    Attributes:
        name: any text.
        secret: what it sends in its requests, and signs links with.
    """

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FpxTicket:
    """A ticket that has not been downloaded.

    Attributes:
        ticket_id: as it stands in its link.
        ticket_type: ``zip`` or ``stream``.
        items: what was asked for, any JSON value; None for what is no JSON.
        options: any JSON value.
    """

    ticket_id: str
    ticket_type: str
    items: object
    options: object


@dataclass(frozen=True, kw_only=True)
class FpxContents:
    """All there is in a database: clients by name, tickets in the order in which they were made."""

    clients: tuple[FpxClient, ...]
    tickets: tuple[FpxTicket, ...]


def read_fpx(db_url: str) -> FpxContents:
    """Read the database of FPX at `db_url`, the setting ``DB_URL`` of FPX: SQLite or PostgreSQL.

    Raises:
        InvalidDocumentError: that is no URL of such a database.
        ConfigurationError: the driver is not installed; says how to install it.
        NotFoundError: there is no such database, or it is none of FPX.
        UnavailableError: it cannot be reached or read.
    """
    url = parse_db_path(_DRIVER.sub("", db_url, count=1))
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise InvalidDocumentError("a database of FPX is one of SQLite or PostgreSQL")
    if url.drivername == "sqlite" and not Path(url.database or "").is_file():
        raise NotFoundError(f"there is no file {url.database}")
    try:
        engine = create_engine(url, poolclass=NullPool)
    except ModuleNotFoundError as error:
        extra = "pip install 'meteorpi[postgresql]'"
        raise ConfigurationError(f"this database needs another package: {extra}") from error
    try:
        with engine.connect() as connection:
            return _read(connection)
    except exc.SQLAlchemyError as error:
        # The message of a driver may hold the URL, and that a password.
        raise UnavailableError("the database of FPX cannot be read") from error
    finally:
        engine.dispose()


def _read(connection: Connection) -> FpxContents:
    found = inspect(connection)
    names = found.get_table_names()
    if "clients" not in names:
        raise NotFoundError("that database is none of FPX: it has no table of clients")
    rows = connection.execute(select(_CLIENTS).order_by(_CLIENTS.c.name))
    clients = tuple(FpxClient(name=str(row.name), secret=str(row.id)) for row in rows)
    if "tickets" not in names:
        return FpxContents(clients=clients, tickets=())
    present = {each["name"] for each in found.get_columns("tickets")}
    wanted = [each for each in _TICKETS.c if each.name in present]
    tickets = connection.execute(select(*wanted).order_by(_TICKETS.c.created_at, _TICKETS.c.id))
    return FpxContents(clients=clients, tickets=tuple(map(_ticket, tickets)))


def _ticket(row: Row[Any]) -> FpxTicket:
    return FpxTicket(
        ticket_id=str(row.id),
        ticket_type=str(row.type),
        items=_json(row.content),
        options=row._mapping.get("options", {}),
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
