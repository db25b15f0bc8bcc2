"""The database: does it answer, is it sound, does it keep what it confirmed, has it room for connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.connections import POOL_OVERFLOW, POOL_SIZE
from meteorpi_db.dialects.diagnosis import EngineFacts, engine_facts
from meteorpi_db.dialects.sqlite import JOURNAL_LIMIT_BYTES
from meteorpi_model.errors import MeteorError
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.output import size_text

CLOCK_SLACK_SECONDS: Final = 5.0
_FULL: Final = 0.8


def check_database(database: MeteorDatabase) -> Iterator[Finding]:
    """What the engine says about itself."""
    with database.transactions.reading() as connection:
        facts = engine_facts(connection)
        asked_at = time.time()
    version = database.get_schema_version()
    yield Finding("ok", "database", f"{facts.engine} {facts.version} answers, schema version {version}")
    yield from soundness(facts)
    yield from durability(facts)
    yield from room(facts, asked_at)


def soundness(facts: EngineFacts) -> Iterator[Finding]:
    """What the engine's own check of the file found."""
    if facts.complaints:
        detail = f"damaged: {'; '.join(facts.complaints)}"
        remedy = "stop the node, restore the latest backup (meteorpi restore), and find out about the disk"
        yield Finding("error", "database", detail, remedy)
    elif facts.complaints is not None:
        yield Finding("ok", "database", "the file is sound")


def durability(facts: EngineFacts) -> Iterator[Finding]:
    """Whether a power cut could lose what was confirmed."""
    if facts.is_durable is False:
        remedies = {
            "PostgreSQL": "set fsync = on and synchronous_commit = on in postgresql.conf",
            "Firebird": "gfix -write sync, on the database file",
        }
        detail = "a power cut may lose what other nodes have been told is kept"
        yield Finding("error", "database", detail, remedies[facts.engine])
    if facts.journal not in (None, "wal"):
        detail = f"keeps no write-ahead log (journal mode {facts.journal}): readers and writers wait in turn"
        yield Finding(
            "warning", "database", detail, "put the file on a local disk; network disks cannot do it"
        )
    if facts.log_bytes is not None and facts.log_bytes > 2 * JOURNAL_LIMIT_BYTES:
        detail = f"the log beside the file has grown to {size_text(facts.log_bytes)}"
        yield Finding("warning", "database", detail, "some process reads without end: restart the services")


def room(facts: EngineFacts, asked_at: float) -> Iterator[Finding]:
    """Whether a server has room for the connections of one more process, and the right time and encoding.

    Args:
        facts: what it said.
        asked_at: when, by the clock of this machine, in seconds of Unix time.
    """
    used, allowed = facts.connections_used, facts.connections_allowed
    if used is not None and allowed is not None:
        detail = f"{used} of {allowed} connections in use; a process of the node takes up to "
        detail += f"{POOL_SIZE + POOL_OVERFLOW}"
        if used > _FULL * allowed or allowed < POOL_SIZE + POOL_OVERFLOW:
            remedy = "raise max_connections in postgresql.conf, or run fewer processes and threads"
            yield Finding("warning", "database", detail, remedy)
        else:
            yield Finding("ok", "database", detail)
    if facts.encoding not in (None, "UTF8"):
        remedy = "make a database with --encoding UTF8 and move over: meteorpi copy-db"
        yield Finding("error", "database", f"the encoding is {facts.encoding}, not UTF8", remedy)
    if facts.unix_seconds is not None and abs(facts.unix_seconds - asked_at) > CLOCK_SLACK_SECONDS:
        detail = f"the clock of its server differs by {facts.unix_seconds - asked_at:+.0f} s"
        yield Finding("warning", "database", detail, "let NTP keep both: timedatectl set-ntp true")


def remedy_for(error: MeteorError) -> str:
    """What to do about a database that cannot be opened."""
    if error.code == "schema-version":
        return "meteorpi init creates a missing schema; a newer one needs newer software"
    return "see that the server runs, that METEORPI_DB_PATH is right, and that the account may write there"
