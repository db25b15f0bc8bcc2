"""``meteorpi archive client``, ``ticket`` and ``db``: looking after links and those who make them."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.queue import ArchiveQueue
from meteorpi_db.archives.queue_state import QueueRules
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.archives.tickets import NewTicket, Owner
from meteorpi_db.connections import open_database
from meteorpi_db.migrations import SCHEMA, Schema, ensure_schema
from meteorpi_model import now
from tests.archive.test_migration import OLD
from tests.cli.conftest import Meteorpi


@pytest.fixture
def register(node: MeteorDatabase) -> ArchiveRegister:
    return ArchiveRegister(node.transactions)


def add_ticket(register: ArchiveRegister, *, hours: float = 1, owner: Owner = Owner()) -> str:  # noqa: B008
    new = NewTicket(
        ticket_type="zip",
        plan=b"plan",
        entries=3,
        expires_at=now() + timedelta(hours=hours),
        owner=owner,
        options={"filename": "night.zip"},
    )
    return str(register.add_ticket(new).ticket_id)


# --- clients -------------------------------------------------------------------------------------------


@pytest.mark.contract("archive-3.20/client", "archive-fpx/command-line")
def test_secret_of_a_client_is_shown_once(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    done = meteorpi("archive", "client", "add", "portal", "--limit", 3, "--prefix", "https://a/", "--json")

    secret = done.json["secret"]
    found = register.client_of_secret(secret)
    assert found is not None
    assert (found.limits.downloads, found.rights.prefixes) == (3, ("https://a/",))
    listed = meteorpi("archive", "client", "list", "--json")
    assert (listed.json["name"], listed.json["limit"], listed.json["is_enabled"]) == ("portal", 3, True)
    assert secret not in listed.out + meteorpi("archive", "client", "list").out


@pytest.mark.contract("archive-3.20/client", "archive-fpx/command-line")
def test_new_secret_and_lock_of_a_client(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    old = meteorpi("archive", "client", "add", "portal", "--selector", "url", "--json").json["secret"]

    new = meteorpi("archive", "client", "regenerate", "portal", "--json").json["secret"]
    assert register.client_of_secret(old) is None
    found = register.client_of_secret(new)
    assert found is not None
    assert found.rights.selectors == {"url"}

    assert meteorpi("archive", "client", "disable", "portal").code == 0
    assert register.client_of_secret(new) is None
    assert meteorpi("archive", "client", "enable", "portal").code == 0
    assert register.client_of_secret(new) is not None

    refused = meteorpi("archive", "client", "drop", "portal", given="n\n")
    assert refused.code != 0
    assert meteorpi("archive", "client", "drop", "portal", "--yes").code == 0
    assert register.clients() == []


@pytest.mark.contract("archive-3.20/client")
def test_secret_that_exists_is_taken_from_standard_input(
    meteorpi: Meteorpi, register: ArchiveRegister
) -> None:
    secret = "s" * 40

    done = meteorpi("archive", "client", "add", "old", "--secret-stdin", "--signing", given=f"{secret}\n")

    assert done.code == 0
    assert secret not in done.out + done.err
    found = register.client_of_secret(secret)
    assert found is not None
    assert found.signing_key == secret.encode()
    assert meteorpi("archive", "client", "add", "other", "--signing").code == 2


@pytest.mark.contract("archive-3.20/client")
def test_wrong_name_of_a_client_is_one_line(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    register.add_client("portal")

    failed = [meteorpi("archive", "client", "add", "portal")]
    failed += [meteorpi("archive", "client", verb, "nobody") for verb in ("regenerate", "enable", "disable")]
    failed.append(meteorpi("archive", "client", "drop", "nobody", "--yes"))

    for done in failed:
        assert (done.code, done.out) == (1, "")
        assert len(done.err.splitlines()) == 1
    assert meteorpi("archive", "client", "add", "a b").code == 2


def test_changes_of_clients_are_in_the_audit_log(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    meteorpi("archive", "client", "add", "portal")
    meteorpi("archive", "client", "drop", "portal", "--yes")

    assert [(entry.action, entry.subject) for entry in node.get_audit_log()] == [
        ("archive-client.drop", "portal"),
        ("archive-client.add", "portal"),
    ]


# --- tickets -------------------------------------------------------------------------------------------


@pytest.mark.contract("archive-3.20/ticket", "archive-fpx/command-line")
def test_tickets_are_listed_with_owner_and_state(
    meteorpi: Meteorpi, node: MeteorDatabase, register: ArchiveRegister
) -> None:
    register.add_client("portal")
    client = register.client("portal")
    assert client is not None
    waiting, reserved = add_ticket(register), add_ticket(register, owner=Owner(client.client_id))
    expired, withdrawn = add_ticket(register, hours=-1), add_ticket(register)
    tickets = {str(ticket.ticket_id): ticket for ticket in register.tickets()}
    queue = ArchiveQueue(node.transactions, QueueRules(is_queued=True, slots=1))
    queue.enter(tickets[reserved].ticket_id, "a")
    queue.enter(tickets[waiting].ticket_id, "b")
    register.withdraw(tickets[withdrawn].ticket_id)
    done = add_ticket(register)
    register.note_download(register.tickets(limit=1)[0].ticket_id, is_complete=True)

    rows = {row["id"]: row for row in meteorpi("archive", "ticket", "list", "--json").rows}

    states = {name: row["state"] for name, row in rows.items()}
    assert states == {
        waiting: "queued",
        reserved: "available",
        expired: "expired",
        withdrawn: "withdrawn",
        done: "done",
    }
    assert (rows[reserved]["owner"], rows[waiting]["owner"]) == ("client portal", None)
    only = meteorpi("archive", "ticket", "list", "--state", "expired", "--json")
    assert only.json["id"] == expired


@pytest.mark.contract("archive-3.20/ticket")
def test_ticket_is_shown(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    ticket = add_ticket(register)

    shown = meteorpi("archive", "ticket", "show", ticket, "--json").json

    assert (shown["state"], shown["entries"], shown["options"]) == ("available", 3, {"filename": "night.zip"})
    assert ticket in meteorpi("archive", "ticket", "show", ticket).out
    assert meteorpi("archive", "ticket", "show", uuid4()).code == 1


@pytest.mark.contract("archive-3.20/ticket", "archive-fpx/command-line")
def test_tickets_are_dropped_one_by_one_or_together(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    one, _, _ = [add_ticket(register) for _ in range(3)]
    add_ticket(register, hours=-1)

    assert meteorpi("archive", "ticket", "drop").code == 2
    assert meteorpi("archive", "ticket", "drop", one, "--all").code == 2
    assert meteorpi("archive", "ticket", "drop", uuid4()).code == 1
    assert meteorpi("archive", "ticket", "drop", one, "--json").json == {"removed": 1}
    assert meteorpi("archive", "ticket", "drop", "--expired", "--json").json == {"removed": 1}
    assert meteorpi("archive", "ticket", "drop", "--all", "--json").json == {"removed": 2}
    assert register.tickets() == []


# --- tables --------------------------------------------------------------------------------------------


@pytest.mark.contract("archive-3.19", "archive-3.20/db", "archive-fpx/command-line")
def test_tables_come_with_the_schema(meteorpi: Meteorpi, home: Path) -> None:
    with closing(open_database(home / "node.db")) as transactions:
        ensure_schema(transactions, create=True, schema=Schema(OLD))

    assert meteorpi("archive", "db", "current", "--json").json == {"version": 1, "newest": SCHEMA.version}
    first = meteorpi("archive", "db", "up", "--json").json
    assert (first["before"], first["version"]) == (1, SCHEMA.version)
    assert Path(first["backup"]).exists()
    second = meteorpi("archive", "db", "up", "--json").json
    assert (second["before"], second["backup"]) == (SCHEMA.version, None)
    assert meteorpi("archive", "db", "current", "--json").json == {
        "version": SCHEMA.version,
        "newest": SCHEMA.version,
    }


def test_database_that_is_not_there_is_not_made_by_looking(meteorpi: Meteorpi, home: Path) -> None:
    assert meteorpi("archive", "db", "current", "--json").json["version"] == 0

    assert not (home / "node.db").exists()


@pytest.mark.contract("archive-3.19", "archive-3.20/db", "archive-fpx/command-line")
def test_everything_is_forgotten_after_asking(
    meteorpi: Meteorpi, node: MeteorDatabase, register: ArchiveRegister
) -> None:
    register.add_client("portal")
    add_ticket(register)
    node.create_or_update_user("ann", "sesame", None)

    refused = meteorpi("archive", "db", "down", given="n\n")
    assert refused.code != 0
    assert "1 clients and 1 tickets" in refused.err
    assert meteorpi("archive", "db", "down", "--yes", "--json").json == {"removed": 3}

    assert (register.clients(), register.tickets()) == ([], [])
    assert [user.user_id for user in node.get_users()] == ["ann"]
    assert meteorpi("archive", "db", "up").code == 0
    register.add_client("portal")
