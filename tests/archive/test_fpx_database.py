"""Reading what FPX has left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import uuid4

import pytest

from meteorpi_db.archives.fpx import FpxClient, FpxTicket, read_fpx
from meteorpi_model.errors import InvalidDocumentError, NotFoundError, UnavailableError
from tests.archive.fpx_database import make_fpx_database

TICKET = str(uuid4())


@pytest.mark.contract("archive-3.20/import-fpx")
@pytest.mark.engines("sqlite", "postgresql")
def test_clients_and_tickets_are_read_from_both_engines_of_fpx(bare_database: str) -> None:
    make_fpx_database(
        bare_database,
        {"b": "secret-b", "a": "secret-a"},
        [
            {"id": TICKET, "content": ["http://a.example/"], "options": {"filename": "x.zip"}},
            {"id": "odd", "content": "no JSON", "type": "stream"},
        ],
    )

    found = read_fpx(bare_database)

    assert found.clients == (FpxClient(name="a", secret="secret-a"), FpxClient(name="b", secret="secret-b"))
    assert found.tickets == (
        FpxTicket(
            ticket_id=TICKET,
            ticket_type="zip",
            items=["http://a.example/"],
            options={"filename": "x.zip"},
        ),
        FpxTicket(ticket_id="odd", ticket_type="stream", items=None, options={}),
    )
    assert "secret-a" not in repr(found)


@pytest.mark.contract("archive-3.20/import-fpx")
@pytest.mark.parametrize("revisions", [1, 2, 3])
def test_database_of_every_revision_is_read_and_left_as_it_was(tmp_path: Path, revisions: int) -> None:
    path = tmp_path / "fpx.db"
    tickets = [{"id": TICKET, "content": []}] if revisions > 1 else []
    make_fpx_database(str(path), {"a": "s"}, tickets, revisions=revisions)
    before = hashlib.sha256(path.read_bytes()).digest()

    found = read_fpx(f"sqlite:///{path}")

    assert [ticket.options for ticket in found.tickets] == [{}] * len(tickets)
    assert [each.name for each in tmp_path.iterdir()] == ["fpx.db"]
    assert hashlib.sha256(path.read_bytes()).digest() == before


def test_what_is_no_database_of_fpx_is_told(tmp_path: Path) -> None:
    make_fpx_database(str(tmp_path / "empty.db"), {}, revisions=0)
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one" * 20)

    for name, kind in (
        ("none.db", NotFoundError),
        ("empty.db", NotFoundError),
        ("text.db", UnavailableError),
    ):
        with pytest.raises(kind):
            read_fpx(f"sqlite:///{tmp_path / name}")
    assert not (tmp_path / "none.db").exists()


def test_password_of_a_database_is_in_no_message() -> None:
    for url in (
        "mysql://root:SECRET@h/fpx",
        "postgresql+psycopg2://u:SECRET@127.0.0.1:1/fpx",
        "firebird://x",
    ):
        with pytest.raises((InvalidDocumentError, UnavailableError)) as failed:
            read_fpx(url)
        assert "SECRET" not in str(failed.value)
