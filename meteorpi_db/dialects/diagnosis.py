"""What an engine can be asked about itself: version, soundness, durability, room for connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from meteorpi_db.dialects.base import backend_of

QUICK_CHECK_BYTES: Final = 2 * 10**9
"""Size of a SQLite file up to which it is read through for a check; a card reads that in a minute or two."""


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What an engine says about itself; None where it cannot tell or was not asked.

    Attributes:
        engine: name for people.
        version: as it calls itself.
        complaints: what its own check of the file found; empty when it is sound.
        is_durable: whether a transaction that was committed survives a power cut.
        path: the file, where the engine runs in this process.
        journal: how changes of the file are protected, in the words of the engine.
        log_bytes: size of the log that has not been merged into the file yet.
        connections_used, connections_allowed: of all its users together.
        encoding: of texts, on the server.
        unix_seconds: what the clock of the server says.
    """

    engine: str
    version: str
    complaints: tuple[str, ...] | None = None
    is_durable: bool | None = None
    path: Path | None = None
    journal: str | None = None
    log_bytes: int | None = None
    connections_used: int | None = None
    connections_allowed: int | None = None
    encoding: str | None = None
    unix_seconds: float | None = None


def engine_facts(connection: Connection) -> EngineFacts:
    """Ask the engine behind `connection`.

    Raises:
        MeteorError: it does not answer.
    """
    return _ASK[backend_of(connection).name](connection)


def _ask_sqlite(connection: Connection) -> EngineFacts:
    path = backend_of(connection).embedded_path
    log = None if path is None else path.with_name(path.name + "-wal")
    is_small = path is not None and path.stat().st_size <= QUICK_CHECK_BYTES
    rows = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all() if is_small else None
    return EngineFacts(
        engine="SQLite",
        version=str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()),
        complaints=None if rows is None else tuple(str(row) for row in rows if row != "ok"),
        journal=str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()),
        path=path,
        log_bytes=log.stat().st_size if log is not None and log.exists() else 0,
    )


def _ask_postgresql(connection: Connection) -> EngineFacts:
    shown = {
        name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
        for name in ("server_version", "server_encoding", "max_connections", "fsync", "synchronous_commit")
    }
    used = connection.exec_driver_sql(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ).scalar_one()
    seconds = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    return EngineFacts(
        engine="PostgreSQL",
        version=shown["server_version"],
        is_durable=shown["fsync"] == "on" and shown["synchronous_commit"] != "off",
        connections_used=int(used),
        connections_allowed=int(shown["max_connections"]),
        encoding=shown["server_encoding"],
        unix_seconds=float(seconds),
    )


def _ask_firebird(connection: Connection) -> EngineFacts:
    version = connection.exec_driver_sql(
        "SELECT rdb$get_context('SYSTEM', 'ENGINE_VERSION') FROM rdb$database"
    ).scalar_one()
    forced = connection.exec_driver_sql("SELECT mon$forced_writes FROM mon$database").scalar_one()
    used = connection.exec_driver_sql("SELECT count(*) FROM mon$attachments").scalar_one()
    return EngineFacts(
        engine="Firebird",
        version=str(version),
        is_durable=bool(forced),
        path=backend_of(connection).embedded_path,
        connections_used=int(used),
    )


_ASK: Final[dict[str, Callable[[Connection], EngineFacts]]] = {
    "sqlite": _ask_sqlite,
    "postgresql": _ask_postgresql,
    "firebird": _ask_firebird,
}
