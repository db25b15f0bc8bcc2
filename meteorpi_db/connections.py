"""Connections to the database, and the two ways to use one: reading a snapshot, writing a transaction.

Everything above works through :class:`Transactions`. It hands out connections from a pool, turns the errors
of the drivers into those of :mod:`meteorpi_model.errors`, repeats transactions that another one overtook,
and finds its way back after the server was gone.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from meteorpi_db import forking
from meteorpi_db.dialects import (
    Backend,
    ConnectionLostError,
    ConstraintError,
    TransactionConflictError,
    backend_for,
)
from meteorpi_db.dialects.base import BACKEND_OPTION
from meteorpi_model.errors import BusyError, ConfigurationError, InvalidDocumentError, MeteorError

logger = logging.getLogger("meteorpi.db.connections")

T = TypeVar("T")

POOL_SIZE = 4
POOL_OVERFLOW = 28
POOL_WAIT_SECONDS = 30.0
IDLE_SECONDS_BEFORE_CHECK = 1.0
RETRY_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
_UNFIT_VALUE = (ValueError, OverflowError, TypeError)  # what drivers raise for values they cannot send
_USED_AT = "meteorpi_used_at"


class Transactions:
    """The two ways to use the database; safe for threads, and for forked children, which get their own pool.

    Args:
        engine: as made by :func:`open_database`.
        backend: of the same database.
        retry_seconds: how long a write goes on repeating while other transactions overtake it.

    Attributes:
        engine: for migrations; everything else uses the methods.
        backend: what is particular to the engine.
        waited_seconds: how long this process has waited for connections, and for new ones to be made.
    """

    def __init__(self, engine: Engine, backend: Backend, retry_seconds: float = RETRY_SECONDS) -> None:
        self.engine = engine
        self.backend = backend
        self._retry_seconds = retry_seconds
        self._reading = engine.execution_options(**backend.reading_options)
        self._writing = engine.execution_options(**backend.writing_options)
        self.waited_seconds = 0.0

    @property
    def in_use(self) -> int:
        """Connections that are in use now, of this process."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one unchanging state of the database, and cannot write.

        Raises:
            BusyError: all connections stay in use.
            UnavailableError: the database does not answer.
        """
        with _errors_as_ours(), self._connected(self._reading) as connection:
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    def write(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in one transaction and commit it.

        Args:
            operation: is called with the connection, and again from the start when another transaction was
                faster or the connection broke before the commit; so it must not change anything else. It
                must not call `write` itself.

        Returns:
            What `operation` returned, once it is durable.

        Raises:
            ConstraintError: a rule of the schema refused a row, also in a second try that saw everything
                others had committed meanwhile.
            UnavailableError: the database does not answer, or others were faster for too long.
        """
        deadline = time.monotonic() + self._retry_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        forgiven: set[type[MeteorError]] = set()
        while True:
            try:
                return self._write_once(operation)
            except TransactionConflictError:
                if time.monotonic() >= deadline:
                    raise
                logger.debug("write repeated after conflict pause_seconds=%.3f", pause_seconds)
                time.sleep(random.uniform(0, pause_seconds))
                pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            except (ConstraintError, _LostBeforeCommitError) as error:
                # A key that another transaction committed meanwhile, or a row that it took away, is so for a
                # second try too, which can take another way; a dead connection is replaced. Neither is worth
                # a third try.
                if type(error) in forgiven:
                    raise
                forgiven.add(type(error))

    def _write_once(self, operation: Callable[[Connection], T]) -> T:
        with _errors_as_ours(), self._connected(self._writing) as connection:
            try:
                transaction = connection.begin()
                result = operation(connection)
            except ConnectionLostError as error:
                raise _LostBeforeCommitError(error.detail) from error
            transaction.commit()
            return result

    def _connected(self, engine: Engine) -> Connection:
        begun = time.perf_counter()
        try:
            return engine.connect()
        finally:
            # Two threads at once may lose one of their waits. A lock would be one more that a fork can find
            # taken, and this is only for looking at.
            self.waited_seconds += time.perf_counter() - begun

    @contextmanager
    def schema_connection(self) -> Iterator[Connection]:
        """Give a connection outside the pool that may change tables; what is not committed is undone.

        Engines hold what a connection has used for as long as it lives, and a change of a table would wait
        for it; so this connection, and the idle ones of the pool, are closed rather than kept.
        """
        self.engine.dispose()
        engine = self.engine.execution_options(**self.backend.schema_options)
        with _errors_as_ours(), engine.connect() as connection:
            connection.detach()
            yield connection

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back."""
        self.engine.dispose()
        self.backend.release()


class _LostBeforeCommitError(ConnectionLostError):
    """The connection broke while nothing had been committed, so the transaction may be repeated."""


def open_database(
    db_path: str | Path | None = None,
    user: str | None = None,
    password: str | None = None,
    *,
    retry_seconds: float = RETRY_SECONDS,
    pool_wait_seconds: float = POOL_WAIT_SECONDS,
    engine_options: Mapping[str, Any] | None = None,
) -> Transactions:
    """Prepare to use the database at `db_path`; the first transaction connects.

    Args:
        db_path: see :func:`meteorpi_db.dialects.backend_for`.
        user: for database servers.
        password: for database servers.
        retry_seconds: see :class:`Transactions`.
        pool_wait_seconds: how long to wait for a connection when all are in use.
        engine_options: arguments of SQLAlchemy's `create_engine` that override those used here.

    Raises:
        InvalidDocumentError: `db_path` cannot be read.
        ConfigurationError: a driver or engine is not installed, or there is no such engine option.
    """
    backend = backend_for(db_path, user, password)
    arguments = {
        "poolclass": QueuePool,
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_timeout": pool_wait_seconds,
        "pool_use_lifo": True,
        **backend.engine_arguments(),
        **(engine_options or {}),
        "execution_options": {BACKEND_OPTION: backend},
    }
    try:
        engine = create_engine(backend.url, **arguments)
    except (TypeError, exc.ArgumentError) as error:
        raise ConfigurationError(f"these options of the database cannot be used: {error}") from error
    event.listen(engine, "handle_error", _error_translator(backend))
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _connection_check(engine))
    backend.install(engine)
    forking.protect(engine)
    return Transactions(engine, backend, retry_seconds)


def _error_translator(backend: Backend) -> Callable[[ExceptionContext], MeteorError | None]:
    def translate(context: ExceptionContext) -> MeteorError | None:
        """What an error means, where it arises; None leaves it as it is."""
        error = context.original_exception
        if isinstance(error, MeteorError):
            return None
        unfit = isinstance(error, _UNFIT_VALUE) or isinstance(context.sqlalchemy_exception, exc.DataError)
        if unfit:
            return InvalidDocumentError(f"a value does not fit the database: {error}")
        return backend.translate(context)

    return translate


def _note_use(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _connection_check(engine: Engine) -> Callable[[DBAPIConnection, ConnectionPoolEntry, Any], None]:
    def check(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Try a connection that lay idle, so that a restarted server costs nobody a request."""
        used_at = record.info.get(_USED_AT)
        if used_at is None or time.monotonic() - used_at < IDLE_SECONDS_BEFORE_CHECK:
            return
        try:
            alive = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.InvalidatePoolError from error
        if not alive:
            raise exc.InvalidatePoolError

    return check


@contextmanager
def _errors_as_ours() -> Iterator[None]:
    """Let no exception of SQLAlchemy out; those of drivers were translated where they arose."""
    try:
        yield
    except exc.StatementError as error:
        raise _meaning_of(error) from error
    except exc.TimeoutError as error:
        raise BusyError("all database connections are in use") from error
    except exc.SQLAlchemyError as error:
        raise MeteorError(f"the database could not be used: {error}") from error


def _meaning_of(error: exc.StatementError) -> MeteorError:
    """The error inside a statement error: one of ours about a value, or something unforeseen."""
    cause = error.orig
    if isinstance(cause, MeteorError):
        return cause
    return MeteorError(f"the database refused a statement: {cause}")
