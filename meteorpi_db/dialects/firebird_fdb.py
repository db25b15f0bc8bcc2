"""The SQLAlchemy dialect `firebird+fdb`: the compiler of sqlalchemy-firebird over the driver fdb.

sqlalchemy-firebird itself knows only firebird-driver. What is here is what differs between the two drivers.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType
from typing import Any, ClassVar

import fdb
from fdb import ibase
from sqlalchemy import URL, Connection
from sqlalchemy.dialects import registry
from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection, DBAPICursor
from sqlalchemy_firebird.base import FBDialect, FBTypeCompiler

from meteorpi_db.dialects import firebird_client

LOCK_WAIT_SECONDS = 10
SNAPSHOT = "SNAPSHOT"
SNAPSHOT_READ_ONLY = "SNAPSHOT READ ONLY"
READ_COMMITTED = "READ COMMITTED"
IMPATIENT = "READ COMMITTED NO WAIT"

NETWORK_ERRORS = frozenset({335544721, 335544726, 335544727})
"""Cannot reach the server; reading from, writing to the connection failed."""
LOST_CONNECTION = NETWORK_ERRORS | {335544324, 335544528, 335544741, 335544856}
"""Also: handle no longer valid, database shut down, connection lost, attachment shut down."""


def _transaction(access: int, isolation: Any, *, wait: bool) -> bytes:
    """A transaction parameter block; rendered once, because rendering is not safe for threads."""
    parameters = fdb.TPB()
    parameters.access_mode = access
    parameters.isolation_level = isolation
    parameters.lock_resolution = ibase.isc_tpb_wait if wait else ibase.isc_tpb_nowait
    if wait and access == ibase.isc_tpb_write:
        parameters.lock_timeout = LOCK_WAIT_SECONDS
    rendered: bytes = parameters.render()
    return rendered


_COMMITTED = (ibase.isc_tpb_read_committed, ibase.isc_tpb_rec_version)
_ISOLATION = {
    READ_COMMITTED: _transaction(ibase.isc_tpb_write, _COMMITTED, wait=True),
    IMPATIENT: _transaction(ibase.isc_tpb_write, _COMMITTED, wait=False),
    SNAPSHOT: _transaction(ibase.isc_tpb_write, ibase.isc_tpb_concurrency, wait=True),
    SNAPSHOT_READ_ONLY: _transaction(ibase.isc_tpb_read, ibase.isc_tpb_concurrency, wait=True),
}


class _Cursor(fdb.Cursor):  # type: ignore[misc]  # the package carries no types
    """Drops its statement when it is closed, rather than whenever the garbage is collected.

    A statement in the traceback of an error may be collected in any thread. There dropping it would wait for
    whoever uses its connection, and that one may be waiting for a row which this very thread has changed:
    both would stand still until the lock timeout.
    """

    def close(self) -> None:
        """Close it; it cannot be used again."""
        statement = self._ps
        super().close()
        if statement is not None:
            with suppress(ReferenceError):  # that of `executemany` has gone with its call
                statement._close()


class _Connection(fdb.Connection):  # type: ignore[misc]  # the package carries no types
    """Gives cursors that drop their statements."""

    def cursor(self) -> _Cursor:
        """A cursor in the main transaction."""
        cursor: _Cursor = super().cursor()
        cursor.__class__ = _Cursor
        return cursor


class FdbTypeCompiler(FBTypeCompiler):  # type: ignore[misc]  # the package carries no types
    """Gives floats all their 64 bits."""

    def visit_double(self, type_: Any, **_options: Any) -> str:
        """The generic name is not known to Firebird 3."""
        return "DOUBLE PRECISION"

    visit_DOUBLE = visit_double  # noqa: N815 (SQLAlchemy's name)


class FirebirdFdbDialect(FBDialect):  # type: ignore[misc]  # the package carries no types
    """Firebird 3 and later through fdb, embedded and over the network."""

    name = "firebird"
    driver = "fdb"
    supports_statement_cache = True
    # The base class overrides `type_compiler_cls`, so this older name is the one that counts.
    type_compiler: ClassVar[type] = FdbTypeCompiler

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The driver."""
        module: ModuleType = fdb
        return module

    def create_connect_args(self, url: URL) -> ConnectArgsType:
        """Without a host, the database is a file that the engine in this process opens."""
        dsn = str(url.database)
        if url.host:
            host = f"[{url.host}]" if ":" in url.host else url.host
            dsn = f"{host}/{url.port}:{dsn}" if url.port else f"{host}:{dsn}"
        return [], {"dsn": dsn, "user": url.username, "password": url.password, "charset": "UTF8"}

    def connect(self, *arguments: Any, **options: Any) -> DBAPIConnection:
        """Connect without letting the client library take over the signals of the process."""
        with firebird_client.keeping_signal_handlers():
            connection: DBAPIConnection = fdb.connect(*arguments, connection_class=_Connection, **options)
        return connection

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Ask for the number of the attachment: one round trip, and no transaction is begun."""
        dbapi_connection.database_info(ibase.isc_info_attachment_id, "i")
        return True

    def do_execute(self, cursor: DBAPICursor, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute, and have long texts come back whole; fdb would give a stream above 64 KB."""
        cursor.execute(statement, parameters)
        if cursor.description:
            cursor.set_stream_blob_treshold(-1)

    def is_disconnect(self, e: BaseException, connection: Any, cursor: Any) -> bool:
        """By the first status code; the inherited check looks for attributes of the other driver."""
        return gds_code(e) in LOST_CONNECTION

    def get_default_isolation_level(self, dbapi_conn: DBAPIConnection) -> str:
        """What a connection goes back to the pool with."""
        return READ_COMMITTED

    def get_isolation_level_values(self, dbapi_conn: DBAPIConnection) -> list[str]:
        """The names that `isolation_level` takes."""
        return list(_ISOLATION)

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """For the transactions that follow; `default_tpb` of the connection itself has no effect."""
        dbapi_connection.main_transaction.default_tpb = _ISOLATION[level]

    def get_isolation_level(self, dbapi_connection: Any) -> str:
        """The name of the level set, READ COMMITTED for fdb's own default."""
        current = dbapi_connection.main_transaction.default_tpb
        return next((name for name, value in _ISOLATION.items() if value is current), READ_COMMITTED)

    def _get_server_version_info(self, connection: Connection) -> tuple[int, ...]:
        attachment = connection.connection.dbapi_connection
        version = str(getattr(attachment, "version", ""))
        return tuple(int(part) for part in version.split(".") if part.isdigit())


def gds_code(error: BaseException) -> int | None:
    """The first Firebird status code of a driver error."""
    if isinstance(error, fdb.DatabaseError) and len(error.args) > 2:
        return int(error.args[2])
    return None


def register() -> None:
    """Make URLs that start with ``firebird+fdb://`` known to SQLAlchemy."""
    registry.register("firebird.fdb", __name__, FirebirdFdbDialect.__name__)
