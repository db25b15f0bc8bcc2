"""What a database of the Qabel block server holds, read without changing it.

Its four revisions are told apart by their columns:

========  =================================================================================================
revision  tables
========  =================================================================================================
1, 2      ``users(user_id, max_quota, download_traffic, size)``, ``prefixes(name, user_id)``; they differ in
          the size and the default of ``max_quota``
3         the same without ``max_quota``
4         ``download_traffic`` became the table ``traffic(user_id, traffic_month, traffic)``
========  =================================================================================================

Source: A.10 of the storage contract, and the migrations of the block server of 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import (
    ColumnClause,
    Connection,
    Inspector,
    NullPool,
    Row,
    column,
    create_engine,
    exc,
    inspect,
    select,
    table,
)

from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_db.dialects.libpq import url_of_dsn
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, NotFoundError, UnavailableError

DEFAULT_QUOTAS: Final = frozenset({16 << 20, 2 << 30})
"""What everybody had by default in the first two revisions; it was nobody's decision."""

_TABLES: Final = frozenset({"users", "prefixes"})
_USERS: Final = ("user_id", "max_quota", "download_traffic")


@dataclass(frozen=True, kw_only=True)
class AncestorUser:
    """Who owns prefixes.

    Attributes:
        user_id: number that the accounting server gave.
        quota: bytes, where somebody decided about them; None leaves it to the accounting server.
    """

    user_id: int
    quota: int | None


@dataclass(frozen=True, kw_only=True)
class AncestorContents:
    """All there is in a database.

    Attributes:
        users: by their numbers; those who own prefixes or have read are among them, with a row or not.
        prefixes: number of the owner by the name of the prefix.
        traffic: bytes read by number of the user and month, such as 201605.
    """

    users: Sequence[AncestorUser]
    prefixes: dict[str, int]
    traffic: dict[tuple[int, int], int]


def read_ancestor(db_url: str, today: date, password: str | None = None) -> AncestorContents:
    """Read the database at `db_url`, the option ``psql-dsn`` of the block server.

    Args:
        db_url: of PostgreSQL, as URL or in the words of libpq.
        password: in place of one in the URL.
        today: the present date of UTC; older revisions do not say of which month their traffic is.

    Raises:
        InvalidDocumentError: that names no such database.
        ConfigurationError: the driver is not installed; says how to install it.
        NotFoundError: it is none of the block server.
        UnavailableError: it cannot be reached or read.
    """
    url = parse_db_path(url_of_dsn(db_url))
    if url.drivername != "postgresql+psycopg":
        raise InvalidDocumentError("a database of the block server is one of PostgreSQL")
    if password is not None:
        url = url.set(password=password)
    try:
        engine = create_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
    except ModuleNotFoundError as error:
        extra = "pip install 'meteorpi[postgresql]'"
        raise ConfigurationError(f"this database needs another package: {extra}") from error
    try:
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            return _read(connection, today)
    except exc.SQLAlchemyError as error:
        # The message of a driver may hold the URL, and that a password.
        raise UnavailableError("the database of the block server cannot be read") from error
    finally:
        engine.dispose()


def is_ancestor(connection: Connection, found: Inspector) -> bool:
    """Whether a database has the tables of the block server, and there are prefixes in them."""
    if not set(found.get_table_names()) >= _TABLES:
        return False
    present = {each["name"] for each in found.get_columns("prefixes")}
    if not {"name", "user_id"} <= present:
        return False
    return bool(connection.execute(select(column("name")).select_from(table("prefixes")).limit(1)).first())


def _read(connection: Connection, today: date) -> AncestorContents:
    found = inspect(connection)
    if not set(found.get_table_names()) >= _TABLES:
        raise NotFoundError("that database is none of the block server: it has no tables users and prefixes")
    rows = _rows(connection, found, "users", *_USERS)
    owned = _rows(connection, found, "prefixes", "name", "user_id")
    prefixes = {str(row.name): int(row.user_id) for row in owned}
    quotas = {int(row.user_id): _quota(row) for row in rows}
    traffic = _traffic(connection, found, rows, today)
    user_ids = {*quotas, *prefixes.values(), *(user_id for user_id, _ in traffic)}
    return AncestorContents(
        users=[AncestorUser(user_id=each, quota=quotas.get(each)) for each in sorted(user_ids)],
        prefixes=prefixes,
        traffic=traffic,
    )


def _rows(connection: Connection, found: Inspector, name: str, *wanted: str) -> Sequence[Row[Any]]:
    present = {each["name"] for each in found.get_columns(name)}
    columns: list[ColumnClause[Any]] = [column(each) for each in wanted if each in present]
    return connection.execute(select(*columns).select_from(table(name)).order_by(columns[0])).all()


def _quota(row: Row[Any]) -> int | None:
    quota = row._mapping.get("max_quota")
    return None if quota in DEFAULT_QUOTAS or quota is None else int(quota)


def _traffic(
    connection: Connection, found: Inspector, users: Sequence[Row[Any]], today: date
) -> dict[tuple[int, int], int]:
    if "traffic" in found.get_table_names():
        rows = _rows(connection, found, "traffic", "user_id", "traffic_month", "traffic")
        read = {(row.user_id, _month(row.traffic_month)): row.traffic or 0 for row in rows}
    else:
        read = {(row.user_id, _month(today)): row._mapping.get("download_traffic") or 0 for row in users}
    return {key: sent for key, sent in read.items() if sent > 0}


def _month(day: date) -> int:
    return day.year * 100 + day.month
