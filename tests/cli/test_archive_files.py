"""The commands that fetch and check archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from werkzeug.wrappers import Response

from tests.archive.made_archives import archive_of, contents, manifest_of
from tests.cli.conftest import Meteorpi
from tests.client.tiny_node import TinyNode, problem, ranged, serve

FILES = contents(500)
ARCHIVE = archive_of(FILES, manifest_of(FILES))


@pytest.fixture
def elsewhere() -> Iterator[TinyNode]:
    """A node that has an archive."""
    made = TinyNode()
    made.answer_with(ranged(ARCHIVE, ETag='"1"', Content_Type="application/zip"))
    for _ in serve(made):
        yield made


@pytest.mark.contract("archive-3.20/verify")
def test_right_archive_is_verified(meteorpi: Meteorpi, home: Path) -> None:
    (home / "a.zip").write_bytes(ARCHIVE)

    done = meteorpi("archive", "verify", "a.zip", "--manifest")

    assert done.code == 0
    assert done.out.startswith(f"a.zip: {len(FILES) + 1} files, ")
    assert done.err == ""
    assert meteorpi("archive", "verify", "a.zip", "--json").json["right"] is True


@pytest.mark.contract("archive-3.20/verify")
def test_what_is_wrong_with_an_archive_is_listed(meteorpi: Meteorpi, home: Path) -> None:
    name = next(iter(FILES))
    (home / "a.zip").write_bytes(archive_of(FILES | {name: b"another"}, manifest_of(FILES)))
    (home / "cut.zip").write_bytes(ARCHIVE[:600])

    different, cut = meteorpi("archive", "verify", "a.zip"), meteorpi("archive", "verify", "cut.zip")

    assert (different.code, cut.code) == (1, 1)
    assert f"different: {name}: its size is 7; the manifest says 500" in different.err
    assert "damaged: the archive: not a whole zip archive" in cut.err


@pytest.mark.contract("archive-3.20/verify")
def test_manifest_is_missed_only_where_it_is_asked_for(meteorpi: Meteorpi, home: Path) -> None:
    (home / "a.zip").write_bytes(archive_of(FILES))

    assert meteorpi("archive", "verify", "a.zip").code == 0
    assert meteorpi("archive", "verify", "a.zip", "--manifest").code == 1
    assert meteorpi("archive", "verify", "none.zip").code == 2


@pytest.mark.contract("archive-3.20/fetch")
def test_archive_is_fetched_by_its_address(meteorpi: Meteorpi, elsewhere: TinyNode, home: Path) -> None:
    done = meteorpi("archive", "fetch", f"{elsewhere.base_url}/archive/abc/", "-o", "a.zip")

    assert (done.code, done.err) == (0, "")
    assert (home / "a.zip").read_bytes() == ARCHIVE
    assert set(elsewhere.paths) == {"/archive/abc/"}


@pytest.mark.contract("archive-3.20/fetch")
def test_archive_is_fetched_by_the_id_of_its_ticket(
    meteorpi: Meteorpi, elsewhere: TinyNode, home: Path
) -> None:
    ticket_id = uuid4()
    arguments = ("archive", "fetch", ticket_id, "--node", elsewhere.base_url, "-o", "a.zip", "--json")

    done = meteorpi(*arguments, "--secret-file", "-", given="the secret\n")

    assert (done.code, done.json["right"]) == (0, True)
    assert set(elsewhere.paths) == {f"/ticket/{ticket_id}/download"}
    assert {request.headers["Authorization"] for request in elsewhere.requests} == {"Bearer the secret"}


@pytest.mark.contract("archive-3.20/fetch")
def test_failures_of_fetching_are_one_line(meteorpi: Meteorpi, elsewhere: TinyNode, home: Path) -> None:
    elsewhere.answer_with(lambda request: problem(404, "not-found", "no such ticket"))
    gone = meteorpi("archive", "fetch", f"{elsewhere.base_url}/ticket/{uuid4()}", "-o", "a.zip")

    elsewhere.answer_with(ranged(archive_of({}, manifest_of(FILES)), Content_Type="application/zip"))
    different = meteorpi("archive", "fetch", f"{elsewhere.base_url}/archive/abc/", "-o", "b.zip")

    assert (gone.code, different.code) == (1, 1)
    assert len(gone.err.splitlines()) == 1
    assert "the manifest has it, the archive has not" in different.err
    assert not (home / "a.zip").exists()
    assert meteorpi("archive", "fetch", "neither", "-o", "a.zip").code == 2
    assert meteorpi("archive", "fetch", "ftp://h/x", "-o", "a.zip").code == 2
    assert meteorpi("archive", "fetch", "http://h/x", "--node", "http://h", "-o", "a.zip").code == 2


def test_what_is_no_archive_is_fetched_as_it_is(meteorpi: Meteorpi, elsewhere: TinyNode, home: Path) -> None:
    elsewhere.answer_with(lambda request: Response(b"picture", content_type="image/jpeg"))

    done = meteorpi(
        "archive", "fetch", f"{elsewhere.base_url}/stream/url/t?client=c", "-o", "a.jpg", "--json"
    )

    assert (done.code, done.json["size_bytes"]) == (0, 7)
    assert (home / "a.jpg").read_bytes() == b"picture"


def test_matching_files_are_downloaded_as_one_archive(
    meteorpi: Meteorpi, elsewhere: TinyNode, home: Path
) -> None:
    done = meteorpi("download", elsewhere.base_url, "--camera", "c", "--zip", "night.zip")

    assert done.code == 0
    assert (home / "night.zip").read_bytes() == ARCHIVE
    assert all(path.startswith("/bundle/files/%257B%2522camera_ids") for path in elsewhere.paths)
    assert meteorpi("download", elsewhere.base_url, "--to", ".", "--zip", "night.zip").code == 2
