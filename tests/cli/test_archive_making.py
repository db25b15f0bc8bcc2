"""Archives made from the shell, and the same ones from a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from meteorpi_client import MeteorClient, check_archive
from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model import FileRecord
from meteorpi_server import MeteorServer, archive_api
from tests.archive.faulty_source import FaultySource, serving
from tests.cli.conftest import OWN_CAMERA, Meteorpi, add_file


@pytest.fixture
def records(node: MeteorDatabase) -> list[FileRecord]:
    return [add_file(node, minute, b"%d" % minute * 50_000, file_name=f"{minute}.png") for minute in range(3)]


@pytest.fixture
def served(server: MeteorServer) -> Iterator[MeteorClient]:
    """A client of the node, which offers archives."""
    archive_api.add_routes(server.meteor_app)
    with MeteorClient(server.base_url()) as client:
        yield client


def ids(records: list[FileRecord]) -> list[str]:
    return [record.file_id.hex for record in records if record.file_id]


@pytest.mark.contract("archive-3.20/pack", "archive-3.20/fetch", "archive-3.20/ticket")
def test_packed_archive_is_the_one_that_is_sent(
    meteorpi: Meteorpi, records: list[FileRecord], served: MeteorClient, home: Path
) -> None:
    items = (*ids(records), "--options", '{"layout": "{type}/{name}", "comment": "night"}')

    packed = meteorpi("archive", "pack", *items, "-o", "packed.zip", "--json")
    link = meteorpi("archive", "ticket", "add", *items, "--base", served.base_url, "--out", "link")
    fetched = meteorpi("archive", "fetch", link.out.strip(), "-o", "fetched.zip", "--json")

    assert (packed.code, link.code, fetched.code) == (0, 0, 0)
    assert (home / "packed.zip").read_bytes() == (home / "fetched.zip").read_bytes()
    assert packed.json["size"] == (home / "packed.zip").stat().st_size
    assert fetched.json["entries"] == len(records) + 1
    assert meteorpi("archive", "verify", "packed.zip", "--manifest").code == 0


@pytest.mark.contract("archive-3.20/pack")
@pytest.mark.parametrize("way", ["night", "search", "json"])
def test_items_are_written_as_people_write_them(
    meteorpi: Meteorpi, records: list[FileRecord], home: Path, way: str
) -> None:
    night = {"camera": OWN_CAMERA, "date": "2015-03-31"}
    arguments = {
        "night": [f"night:{OWN_CAMERA}/2015-03-31"],
        "search": ["--search", '{"limit": 0}'],
        "json": [json.dumps({"night": night})],
    }

    done = meteorpi("archive", "pack", *arguments[way], "-o", "a.zip")

    assert done.code == 0
    with ZipFile(home / "a.zip") as archive:
        assert len(archive.namelist()) == len(records) + 1
    report = check_archive(home / "a.zip")
    assert report.is_right
    assert report.has_manifest


@pytest.mark.contract("archive-3.20/pack")
def test_what_cannot_be_packed_leaves_no_file(
    meteorpi: Meteorpi, node: MeteorDatabase, records: list[FileRecord], home: Path
) -> None:
    file_id = records[0].file_id
    assert file_id is not None
    before = {path.name for path in home.iterdir()}

    for arguments in ((), ("00" * 16,), ("nothing",), ("{",), ("night:somewhere",), ("--search", "x")):
        done = meteorpi("archive", "pack", *arguments, "-o", "a.zip")
        assert (done.code, "Traceback" in done.err) == (2, False), arguments
    node.store.delete(file_id)
    gone = meteorpi("archive", "pack", file_id.hex, "-o", "a.zip")

    assert gone.code == 1
    assert {path.name for path in home.iterdir()} == before


@pytest.mark.contract("archive-3.20/pack")
def test_addresses_are_packed_where_that_is_allowed(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultySource({"/a.txt": serving(b"hello", ETag='"1"')}) as source:
        refused = meteorpi("archive", "pack", source.url("/a.txt"), "-o", "a.zip")
        monkeypatch.setenv("METEORPI_ARCHIVE_ALLOWED_SOURCES", f"127.0.0.1:{source.port}")
        done = meteorpi("archive", "pack", "--url", source.url("/a.txt"), "-o", "a.zip")
        gone = meteorpi("archive", "pack", source.url("/b.txt"), "-o", "b.zip")

    assert (refused.code, done.code, gone.code) == (2, 0, 1)
    assert not (home / "b.zip").exists()
    with ZipFile(home / "a.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": b"hello"}


@pytest.mark.contract("archive-3.20/ticket")
def test_ticket_made_from_the_shell_can_be_downloaded(
    meteorpi: Meteorpi, records: list[FileRecord], served: MeteorClient, home: Path, node: MeteorDatabase
) -> None:
    ArchiveRegister(node.transactions).add_client("portal")

    done = meteorpi("archive", "ticket", "add", *ids(records), "--client", "portal", "--json")
    got = meteorpi("archive", "fetch", done.json["id"], "--node", served.base_url, "-o", "a.zip")

    assert (done.code, got.code) == (0, 0)
    assert done.json["href"] == f"http://127.0.0.1:12345/ticket/{done.json['id']}/download"
    assert done.json["entries"] == len(records) + 1
    assert done.json["bytes"] == (home / "a.zip").stat().st_size


def test_ticket_in_the_name_of_an_unknown_client_is_not_made(
    meteorpi: Meteorpi, records: list[FileRecord]
) -> None:
    done = meteorpi("archive", "ticket", "add", *ids(records), "--client", "portal")

    assert (done.code, len(done.err.splitlines())) == (1, 1)


@pytest.mark.contract("archive-3.20/fetch")
def test_search_is_downloaded_as_one_archive_of_a_real_node(
    meteorpi: Meteorpi, records: list[FileRecord], served: MeteorClient, home: Path
) -> None:
    done = meteorpi("download", served.base_url, "--camera", OWN_CAMERA, "--zip", "night.zip", "--json")

    assert (done.code, done.err) == (0, "")
    assert (done.json["right"], done.json["manifest"], done.json["entries"]) == (True, True, 4)
