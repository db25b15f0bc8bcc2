"""From `db_path` to the engine that it names."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, exc, make_url

from meteorpi_db.dialects.base import Backend
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError

DEFAULT_SQLITE_FILE = "meteorpi.db"

_WINDOWS_PATH = re.compile(r"^[A-Za-z]:([\\/]|$)|^\\\\")
# host:path and host/port:path; Firebird's host part ends at the first colon that is not inside brackets.
_FIREBIRD_DSN = re.compile(
    r"^(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(?P<port>[0-9]+|gds_db))?:(?P<path>.+)$",
    re.DOTALL,
)
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "firebird": "firebird+fdb",
    "firebird+fdb": "firebird+fdb",
}
_FORMS = (
    "a file path, a Firebird DSN (host:/path.fdb or host/port:/path.fdb), or a URL that starts with "
    "sqlite:///, postgresql:// or firebird+fdb://"
)


def backend_for(db_path: str | Path | None, user: str | None, password: str | None) -> Backend:
    """Choose the engine for `db_path`; opens nothing.

    Args:
        db_path: a Firebird DSN, a path ending in ``.fdb`` (embedded Firebird), a SQLAlchemy URL, a path of a
            SQLite file, or None for ``meteorpi.db`` in the current directory.
        user: for servers, where a URL does not name one itself.
        password: likewise.

    Raises:
        InvalidDocumentError: `db_path` has none of these forms.
        ConfigurationError: the driver is not installed; says how to install it.
    """
    url = parse_db_path(DEFAULT_SQLITE_FILE if db_path is None else str(db_path))
    if url.drivername == "sqlite":
        from meteorpi_db.dialects.sqlite import SqliteBackend

        return SqliteBackend(url)
    if url.drivername == "postgresql+psycopg":
        _need("psycopg", "postgresql")
        from meteorpi_db.dialects.postgresql import PostgresqlBackend

        return PostgresqlBackend(_with_credentials(url, user, password))
    _need("fdb", "firebird")
    _need("sqlalchemy_firebird", "firebird")
    from meteorpi_db.dialects.firebird import FirebirdBackend

    return FirebirdBackend(_with_credentials(url, user, password))


def parse_db_path(db_path: str) -> URL:
    """The URL that `db_path` stands for, without credentials that it does not carry itself."""
    if not db_path.strip() or "\x00" in db_path:
        raise InvalidDocumentError(f"db_path is empty: give {_FORMS}")
    if "://" in db_path:
        return _parse_url(db_path)
    if _WINDOWS_PATH.match(db_path):
        raise InvalidDocumentError(f"db_path {db_path!r} looks like a Windows path: give {_FORMS}")
    if found := _FIREBIRD_DSN.match(db_path):
        return _firebird_url(found["host"], found["port"], found["path"])
    path = Path(db_path).expanduser().absolute()
    if path.is_dir():
        raise InvalidDocumentError(f"db_path {db_path!r} is a directory: give {_FORMS}")
    driver = "firebird+fdb" if path.suffix.lower() == ".fdb" else "sqlite"
    return URL.create(driver, database=str(path))


def _parse_url(db_path: str) -> URL:
    scheme = db_path.split("://", 1)[0].lower()
    if scheme not in _DRIVERS:
        raise InvalidDocumentError(f"db_path starts with {scheme!r}, which is not known: give {_FORMS}")
    try:
        url = make_url(db_path).set(drivername=_DRIVERS[scheme])
    except (exc.ArgumentError, ValueError) as error:
        # The text may hold a password, so neither it nor the parser's message is repeated.
        raise InvalidDocumentError(f"db_path is not a readable {scheme} URL") from error
    if url.drivername == "postgresql+psycopg":
        return url
    if not url.database:
        raise InvalidDocumentError(f"db_path {url.render_as_string()!r} names no database file")
    if url.drivername == "sqlite" and url.database == ":memory:":
        raise InvalidDocumentError("a SQLite database in memory cannot be shared: name a file")
    if url.drivername == "sqlite" or not url.host:
        return url.set(database=str(Path(url.database).expanduser().absolute()))
    return url


def _firebird_url(host: str, port: str | None, path: str) -> URL:
    number = int(port) if port and port.isdigit() else None
    return URL.create("firebird+fdb", host=host.strip("[]"), port=number, database=path)


def _with_credentials(url: URL, user: str | None, password: str | None) -> URL:
    return url if url.username else url.set(username=user, password=password)


def _need(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise ConfigurationError(f"this database needs another package: pip install 'meteorpi[{extra}]'")
