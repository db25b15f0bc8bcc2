"""A node that has a row in every table, with values that engines like to spoil; and how to compare two."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, func, insert, select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_db.archives.checksums import FileChecksums
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import NewTicket, Owner
from meteorpi_db.backup.adjusting import forget_marking
from meteorpi_db.backup.dumping import carried_tables
from meteorpi_db.backup.rows import digest_of, rows_of
from meteorpi_db.blocks import contents, links, reservations, tokens, traffic
from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import Event, FileRecord, Meta, NSString
from tests.blocks.making import ACCOUNT, StoredBlocks
from tests.db.making import (
    CAMERA,
    OTHER_CAMERA,
    add_event,
    add_export,
    add_file,
    add_status,
    at,
    imported_event,
    status_of,
)

CONTENTS = (b"", b"first", b"second \x00\xff", bytes(range(256)) * 5000)
NASTY_TEXTS = (
    "",
    " trailing  ",
    "ünïcode ☄ 🌠",
    "line\nbreak\ttab",
    "null",
    '"quoted\\"',
    "\x7f\u2028",
    "x" * 4000,
)
NASTY_NUMBERS = (0.1, 1e-300, -1.7976931348623157e308, 5e-324, 1 / 3, 12345678901234.567, 2**53, -3, 0, -0.0)


def fill(db: MeteorDatabase) -> list[FileRecord]:
    """Make at least one row in each table; gives the file records."""
    add_status(db, latitude=1 / 3, longitude=-179.99999999999997)
    status = status_of(
        regions=[[{"x": 0.5, "y": 0.1}, {"x": 720, "y": 1 / 3}, {"x": 720, "y": 576}]],
        inst_url="https://example.org/☄",
    )
    db.update_camera_status(status, at(-10), OTHER_CAMERA)
    found = [add_file(db, number, content=content) for number, content in enumerate(CONTENTS)]
    found.append(add_file(db, 20, content=CONTENTS[1]))  # the same bytes once more
    metas = [Meta(NSString(f"text{number}"), text) for number, text in enumerate(NASTY_TEXTS)]
    metas += [Meta(NSString(f"number{number}"), value) for number, value in enumerate(NASTY_NUMBERS)]
    found.append(
        add_file(db, 30, *metas, Meta(NSString("date"), at(3)), camera=OTHER_CAMERA, content=b"metas")
    )
    add_event(db, 2, found[:2])
    _import(db)
    _add_accounts(db)
    _add_archives(db)
    _add_blocks(db)
    config = add_export(db, "file")
    add_export(db, "event", enabled=False)
    db.mark_entities_to_export(config)
    db.set_high_water_mark(at(40), CAMERA)
    db.record_audit("ann", "node.fill", "everything", detail="ünïcode ☄")
    _add_passing_things(db)
    # How far marking has come is forgotten by a restore; so that all tables can be compared, it is here, too.
    db.transactions.write(lambda connection: forget_marking(connection, tables.metadata))
    return found


def _import(db: MeteorDatabase) -> Event:
    status = db.get_camera_status(at(0), CAMERA)
    assert status is not None
    assert status.status_id is not None
    event = imported_event(status.status_id, 5, files=2)
    for record in event.file_records:
        assert record.file_id is not None
        db.store.put(record.file_id, [b"what the camera saw"])
    db.import_event(event, "importer")
    return event


def _add_accounts(db: MeteorDatabase) -> None:
    """Accounts with hashes that take no time to make."""
    old = "$pbkdf2-sha256$29000$c2FsdHNhbHRzYWx0$" + "A" * 43

    def operation(connection: Connection) -> None:
        accounts = [
            {"user_id": name, "password_hash": old, "role_mask": mask, "created_at": 2**41 + mask}
            for name, mask in (("ann", 3), ("importer", 4), ("Ünïx ", 1))
        ]
        connection.execute(insert(tables.user_account), accounts)
        connection.execute(insert(tables.user_camera).values(user_id="importer", camera_id="far camera"))

    db.transactions.write(operation)
    db.create_api_token("ann", "a program")


def _add_archives(db: MeteorDatabase) -> None:
    """A client and a ticket, which are carried; a place in the queue, a download and a sum, which are not."""
    register = ArchiveRegister(db.transactions, lambda: at(1))
    register.add_client("far-away", secret="s" * 96)
    client = register.client("far-away")
    assert client is not None
    plan = bytes(range(256)) * 300
    new = NewTicket(
        ticket_type="zip",
        plan=plan,
        entries=3,
        expires_at=at(2000),
        owner=Owner(client.client_id),
        options={"filename": "nuit é.zip"},
        idempotency_key="one",
    )
    ticket = register.add_ticket(new)
    FileChecksums(db.transactions, lambda: at(1)).keep({"0" * 64: 1})
    queue = ArchiveQueue(db.transactions, QueueRules(), lambda: at(1))
    assert isinstance(queue.start(ticket.ticket_id, "a process"), UUID)


def _add_blocks(db: MeteorDatabase) -> None:
    """Objects of an account and of nobody, a token, and what was read; an upload, which is not carried."""
    blocks = StoredBlocks(db)
    blocks.make("of-anna")
    for path, content in (("index", b"first"), ("blocks/1", CONTENTS[3]), ("index", b"second version")):
        blocks.store(path, content, "of-anna")
    blocks.remove("blocks/1", "of-anna")
    blocks.store("blocks/1", CONTENTS[3], "of-anna")
    blocks.store("empty~", b"", blocks.make_ownerless("nobodys"))

    def operation(connection: Connection) -> None:
        tokens.create(connection, ACCOUNT, "ünïx ☄", 2**41, 2**40)
        traffic.add(connection, {ACCOUNT: 2**50}, 202611)
        links.create(connection, "of-anna", "index", 3, 2**42)
        reservations.reserve(connection, "1", UUID(int=9), ACCOUNT, "of-anna", "late", 5, 2**42)

    db.transactions.write(operation)
    with db.transactions.reading() as connection:
        released = contents.released(connection, 10)
    for content_id in released:  # the bytes go before the row does, and whoever does it may be killed
        db.store.delete(content_id)


def _add_passing_things(db: MeteorDatabase) -> None:
    """What is not carried: a lease, a failed login, an announcement."""
    db.acquire_lease("some work", "somebody", 60)
    db.announce("importer", imported_event(UUID(int=5), 6))
    failure = {"subject": "user:ann", "failures": 3, "last_failure_at": 5}
    db.transactions.write(lambda connection: connection.execute(insert(tables.login_failure).values(failure)))


def digests(transactions: Transactions) -> dict[str, str]:
    """The digest of every table that is carried."""
    with transactions.reading() as connection:
        return {
            table.name: digest_of(rows_of(connection, table)).hexadecimal
            for table in carried_tables(tables.metadata)
        }


def digests_at(db_path: str) -> dict[str, str]:
    """The same of a database that nobody has open."""
    with closing(open_database(db_path, USER, PASSWORD)) as transactions:
        return digests(transactions)


def empty_tables(transactions: Transactions) -> set[str]:
    """Tables without a row."""
    with transactions.reading() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }
    return {name for name, count in counts.items() if not count}


def contents_of(db: MeteorDatabase) -> dict[UUID, bytes]:
    """Every content of the file store."""
    found = {}
    for file_id in db.store.ids():
        with db.store.open(file_id) as chunks:
            found[file_id] = b"".join(chunks)
    return found


def id_of(record: FileRecord | Event) -> UUID:
    """The id of a record."""
    found = record.event_id if isinstance(record, Event) else record.file_id
    assert found is not None
    return found


def size_below(path: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
