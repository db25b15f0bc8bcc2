"""``meteorpi archive import-fpx``: clients go on with their secrets, links with their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zipfile import ZipFile

import pytest

from meteorpi_client import MeteorClient
from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_server import MeteorServer, archive_api
from tests.archive.faulty_source import FaultySource, serving
from tests.archive.fpx_database import make_fpx_database
from tests.cli.conftest import Meteorpi

SHORT = "s" * 43
"""As long as FPX makes secrets."""

LONG = "l" * 80


@pytest.fixture
def source() -> Iterator[FaultySource]:
    with FaultySource({"/a": serving(b"first"), "/b": serving(b"second", ETag='"1"')}) as found:
        yield found


@pytest.fixture
def register(node: MeteorDatabase, source: FaultySource, monkeypatch: pytest.MonkeyPatch) -> ArchiveRegister:
    monkeypatch.setenv("METEORPI_ARCHIVE_ALLOWED_SOURCES", source.url())
    return ArchiveRegister(node.transactions)


@pytest.mark.contract("archive-3.20/import-fpx", "archive-6.4")
def test_links_of_fpx_go_on_leading_to_their_files(
    meteorpi: Meteorpi, register: ArchiveRegister, source: FaultySource, server: MeteorServer, home: Path
) -> None:
    whole, single = str(uuid4()), str(uuid4())
    items = [source.url("/a"), {"url": source.url("/b"), "path": "x/y", "name": "n"}, source.url("/gone")]
    tickets: list[dict[str, Any]] = [
        {"id": whole, "content": items, "options": {"filename": "mine.zip", "other": 1}},
        {"id": single, "content": [source.url("/b")], "type": "stream"},
    ]
    make_fpx_database(str(home / "fpx.db"), {"ckan": SHORT}, tickets)

    done = meteorpi("archive", "import-fpx", "sqlite:///fpx.db", "--json")
    asked = len(source.requests)
    archive_api.add_routes(server.meteor_app, allowed_sources=[source.url()])
    with MeteorClient(server.base_url()) as client:
        archive = home / "fetched.zip"
        client.archives.fetch(f"/ticket/{whole}/download", archive)
        plain = home / "plain"
        client.archives.fetch(f"/ticket/{single}/download", plain)

    assert (done.code, done.json) == (0, {"clients": 1, "tickets": 2, "known": 0, "left_out": []})
    assert asked == 0
    with ZipFile(archive) as opened:
        assert opened.namelist()[:2] == ["a", "x/y/n"]
        assert (opened.read("a"), opened.read("x/y/n")) == (b"first", b"second")
    assert plain.read_bytes() == b"second"


@pytest.mark.contract("archive-3.20/import-fpx", "archive-3.3/storage")
@pytest.mark.parametrize("signing", [False, True])
def test_clients_keep_their_secrets(
    meteorpi: Meteorpi, register: ArchiveRegister, home: Path, signing: bool
) -> None:
    make_fpx_database(str(home / "fpx.db"), {"short": SHORT, "long": LONG})

    done = meteorpi("archive", "import-fpx", "sqlite:///fpx.db", *(["--signing"] if signing else []))

    assert done.code == 0
    assert SHORT not in done.out + done.err
    found = {client.name: client for client in register.clients()}
    assert register.client_of_secret(SHORT) == found["short"]
    assert register.client_of_secret(LONG) == found["long"]
    assert found["short"].signing_key == (SHORT.encode() if signing else None)
    assert found["long"].signing_key is not None
    assert found["short"].rights.selectors == {"url"}


@pytest.mark.contract("archive-3.20/import-fpx")
def test_import_that_is_repeated_takes_what_is_new(
    meteorpi: Meteorpi, register: ArchiveRegister, source: FaultySource, home: Path
) -> None:
    ticket = {"id": str(uuid4()), "content": [source.url("/a")]}
    make_fpx_database(str(home / "fpx.db"), {"a": SHORT}, [ticket])
    make_fpx_database(
        str(home / "later.db"), {"a": SHORT, "b": LONG}, [ticket, {**ticket, "id": str(uuid4())}]
    )

    meteorpi("archive", "import-fpx", "sqlite:///fpx.db")
    done = meteorpi("archive", "import-fpx", "sqlite:///later.db", "--json")

    assert (done.code, done.json) == (0, {"clients": 1, "tickets": 1, "known": 2, "left_out": []})
    assert register.count_tickets() == 2


@pytest.mark.contract("archive-3.20/import-fpx")
def test_what_cannot_be_taken_over_is_told_and_the_rest_taken(
    meteorpi: Meteorpi, register: ArchiveRegister, source: FaultySource, home: Path
) -> None:
    register.add_client("taken")
    good, bad = [source.url("/a")], str(uuid4())
    tickets: list[dict[str, Any]] = [
        {"id": bad, "content": [source.url("/a"), 7]},
        {"id": str(uuid4()), "content": ["http://10.0.0.1/x"]},
        {"id": str(uuid4()), "content": "no JSON"},
        {"id": str(uuid4()), "content": []},
        {"id": str(uuid4()), "content": [*good, *good], "type": "stream"},
        {"id": "no-uuid", "content": good},
        {"id": str(uuid4()), "content": good, "options": {"filename": "a\r\nb"}},
        {"id": str(uuid4()), "content": good, "options": ["no object"]},
    ]
    make_fpx_database(str(home / "fpx.db"), {"a b": "x" * 43, "taken": "y" * 43, "new": SHORT}, tickets)

    done = meteorpi("archive", "import-fpx", "sqlite:///fpx.db", "--json")
    told = meteorpi("archive", "import-fpx", "sqlite:///fpx.db")

    assert (done.code, done.json["clients"], done.json["tickets"]) == (1, 1, 1)
    left = done.json["left_out"]
    assert {each.get("client") for each in left} == {"a b", "taken", None}
    assert {each.get("ticket") for each in left} - {None} == {each["id"] for each in tickets[:-1]}
    assert all(each["reason"] for each in left)
    assert f"left out: ticket {bad}: reason" in told.err
    assert [client.name for client in register.clients()] == ["new", "taken"]


@pytest.mark.contract("archive-3.20/import-fpx")
def test_server_without_a_node_can_go_on_in_the_database_of_fpx(
    meteorpi: Meteorpi, source: FaultySource, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket_id = uuid4()
    ticket = {"id": str(ticket_id), "content": [source.url("/a")]}
    make_fpx_database(str(home / "fpx.db"), {"ckan": SHORT}, [ticket])
    monkeypatch.setenv("METEORPI_ARCHIVE_DB_URL", "sqlite:///fpx.db")
    monkeypatch.setenv("METEORPI_ARCHIVE_ALLOWED_SOURCES", source.url())
    assert meteorpi("archive", "db", "up").code == 0

    done = meteorpi("archive", "import-fpx", "sqlite:///fpx.db", "--json")

    assert (done.code, done.json["clients"], done.json["tickets"]) == (0, 1, 1)
    assert meteorpi("archive", "client", "list", "--json").json["name"] == "ckan"
    shown = meteorpi("archive", "ticket", "list", "--json").json
    assert UUID(shown["id"]) == ticket_id


def test_database_that_is_not_there_is_one_line(meteorpi: Meteorpi, register: ArchiveRegister) -> None:
    missing = meteorpi("archive", "import-fpx", "sqlite:///none.db")
    unreadable = meteorpi("archive", "import-fpx", "mysql://u:SECRET@h/x")

    assert (missing.code, len(missing.err.splitlines())) == (1, 1)
    assert unreadable.code == 2
    assert "SECRET" not in unreadable.err
