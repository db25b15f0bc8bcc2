"""Archives of directories behind their names, and of published tickets."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_server.archiving import checksums
from tests.archive.conftest import ArchiveNode, opened

pytestmark = pytest.mark.engines("sqlite")

NAME = "3bea29ccabbbf64bdebcc055319c5745"
MTIME = 1_450_000_000


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with one directory in it, something beside it, and ways out of it."""
    directory = tmp_path / "storage" / NAME
    (directory / "b" / "deep").mkdir(parents=True)
    (directory / "empty").mkdir()
    (directory / ".hidden").mkdir()
    for path, content in {
        "b/deep/1.jpg": b"one",
        "a.jpg": b"A" * 5000,
        "b/2.jpg": b"two",
        ".hidden/3.jpg": b"three",
        ".env": b"secret",
    }.items():
        (directory / path).write_bytes(content)
        os.utime(directory / path, (MTIME, MTIME))
    (tmp_path / "outside").write_bytes(b"secret")
    (directory / "link.jpg").symlink_to(tmp_path / "outside")
    (directory / "away").symlink_to(tmp_path)
    os.mkfifo(directory / "pipe")
    (tmp_path / "storage" / "short").mkdir()
    (tmp_path / "storage" / "linked-to-a-directory").symlink_to(directory)
    (tmp_path / "storage" / "a-file-and-no-directory").write_bytes(b"secret")
    return tmp_path / "storage"


@pytest.fixture
def node(make_archive_node: Callable[..., ArchiveNode], storage: Path) -> ArchiveNode:
    return make_archive_node(storage_path=str(storage))


@pytest.mark.contract(
    "archive-directory/archive", "archive-3.11/tree", "archive-defect-6", "archive-defect-8"
)
def test_directory_is_sent_in_order_without_what_is_no_file(node: ArchiveNode) -> None:
    answer = node.get(f"/archive/{NAME}/")

    assert opened(answer) == {
        "a.jpg": b"A" * 5000,
        "b/2.jpg": b"two",
        "b/deep/1.jpg": b"one",
        "empty/": b"",
    }
    assert list(opened(answer)) == ["a.jpg", "b/2.jpg", "b/deep/1.jpg", "empty/"]
    assert f'filename="{NAME}.zip"' in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.getinfo("a.jpg").date_time == (2015, 12, 13, 9, 46, 40)


@pytest.mark.contract("archive-3.11/tree")
def test_hidden_files_and_a_leading_directory_are_there_on_demand(
    make_archive_node: Callable[..., ArchiveNode], storage: Path
) -> None:
    node = make_archive_node(storage_path=str(storage), include_hidden=True, dir_prefix=True)

    names = list(opened(node.get(f"/archive/{NAME}/")))

    assert names == [
        f"{NAME}/{each}" for each in (".env", ".hidden/3.jpg", "a.jpg", "b/2.jpg", "b/deep/1.jpg", "empty/")
    ]


@pytest.mark.contract("archive-defect-6")
def test_empty_directory_is_an_empty_zip(node: ArchiveNode, storage: Path) -> None:
    (storage / "nothing-is-in-here").mkdir()

    answer = node.get("/archive/nothing-is-in-here/")

    assert len(answer.data) == 22
    assert opened(answer) == {}


@pytest.mark.contract("archive-3.11/hash", "archive-defect-9")
@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e", "%2e", "..", ".", "%2e%2e%2foutside", f"x%2f..%2f{NAME}", f"..%2fstorage%2f{NAME}",
        f"{NAME}%2fb", f"{NAME}%00", f"{NAME}%0a", f"%20{NAME}", f"{NAME}\\", "short", "a" * 129,
        "été-2015-12-13-nuit",
        "linked-to-a-directory", "a-file-and-no-directory", "0123456789abcdef",
    ],
)  # fmt: skip
def test_everything_but_the_name_of_a_directory_is_404(node: ArchiveNode, name: str) -> None:
    answer = node.get(f"/archive/{name}/")

    assert answer.status_code == 404
    assert b"secret" not in answer.data


@pytest.mark.contract("archive-3.2/redirect")
def test_address_without_slash_leads_to_the_one_with_it(node: ArchiveNode) -> None:
    answer = node.get(f"/archive/{NAME}")

    assert answer.status_code == 308
    assert answer.headers["Location"].endswith(f"/archive/{NAME}/")


@pytest.mark.contract("archive-3.11/404", "archive-directory/unknown")
def test_what_is_not_there_is_told_in_form_and_language(node: ArchiveNode) -> None:
    def answer(accept: str, language: str = "") -> tuple[str | None, str, str]:
        headers = {"Accept": accept} | ({"Accept-Language": language} if language else {})
        got = node.get("/archive/0123456789abcdef/", headers=headers)
        assert got.status_code == 404
        return got.mimetype, got.headers["Content-Language"], got.text

    assert answer("*/*")[:2] == ("text/plain", "en")
    assert "does not exist, or it was removed" in answer("*/*")[2]
    assert answer("text/html,application/xhtml+xml,*/*;q=0.8", "de-DE,de;q=0.9")[:2] == ("text/html", "de")
    assert answer("application/json", "fr")[:2] == ("application/problem+json", "fr")
    assert list(json.loads(answer("application/json")[2])["errors"]) == ["id"]
    assert answer("text/plain", "tlh")[1] == "en"


@pytest.mark.contract("archive-3.11/crc")
def test_small_directory_can_be_sent_in_parts_at_once(node: ArchiveNode) -> None:
    path = f"/archive/{NAME}/"
    whole = node.get(path)

    part = node.get(path, headers={"Range": "bytes=100-199", "If-Range": whole.headers["ETag"]})

    assert (part.status_code, part.data) == (206, whole.data[100:200])
    assert node.get(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


@pytest.mark.contract("archive-3.11/crc", "archive-4.4")
def test_large_directory_has_a_length_at_once_and_parts_after_one_pass(
    node: ArchiveNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meteorpi_server.archive_api.tree_entries.BUDGET_BYTES", 1000)
    path = f"/archive/{NAME}/"

    first = node.get(path, headers={"Range": "bytes=0-9"})
    second = node.get(path, headers={"Range": "bytes=0-9"})

    assert checksums.BUDGET_BYTES > 1000
    assert (first.status_code, first.headers["Accept-Ranges"]) == (200, "none")
    assert "ETag" not in first.headers
    assert int(first.headers["Content-Length"]) == len(first.data)
    assert opened(first)["a.jpg"] == b"A" * 5000
    assert (second.status_code, second.headers["Accept-Ranges"]) == (206, "bytes")


@pytest.mark.contract("archive-3.11/crc")
def test_changed_file_is_another_archive(node: ArchiveNode, storage: Path) -> None:
    path = f"/archive/{NAME}/"
    before = node.get(path)
    (storage / NAME / "a.jpg").write_bytes(b"B" * 5000)

    after = node.get(path, headers={"Range": "bytes=10-", "If-Range": before.headers["ETag"]})

    assert after.status_code == 200
    assert opened(after)["a.jpg"] == b"B" * 5000


@pytest.mark.contract("archive-3.12/before")
def test_directory_in_a_ticket_is_frozen_and_its_change_told(node: ArchiveNode, storage: Path) -> None:
    made = node.ticket([{"dir": NAME}], node.client())
    assert made["resumable"]
    assert {each["name"] for each in made["skipped"]} == {"away", "link.jpg", "pipe"}
    (storage / NAME / "new.jpg").write_bytes(b"new")
    assert "new.jpg" not in opened(node.get(made["href"]))

    (storage / NAME / "a.jpg").write_bytes(b"B" * 5000)

    answer = node.get(made["href"])
    assert answer.status_code == 409
    assert answer.json is not None
    assert answer.json["errors"]["json"]["items"] == ["a.jpg"]


@pytest.mark.contract("archive-3.11/index", "archive-directory/index", "archive-defect-14")
def test_index_is_there_in_debug_mode_only(
    node: ArchiveNode, make_archive_node: Callable[..., ArchiveNode], storage: Path
) -> None:
    debugged = make_archive_node(storage_path=str(storage), debug=True)

    index = debugged.get("/archive/")

    assert node.get("/archive/").status_code == 404
    assert f'href="{NAME}/"' in index.text
    assert "linked-to-a-directory" not in index.text
    assert "<script" not in index.text
    assert debugged.get("/archive/short/").status_code == 200


@pytest.mark.contract("archive-3.11/publish")
def test_published_ticket_has_a_name_of_its_own(node: ArchiveNode) -> None:
    node.add_files()
    made = node.ticket([{"search": {}}], publish=True, once=True)
    address = made["archive_href"]

    assert len(address.strip("/").rpartition("/")[2]) >= 32
    assert made["id"].replace("-", "") not in address
    assert node.http.head(address).headers["ETag"] == f'"{made["etag"]}"'
    whole = node.get(address)
    assert len(opened(whole)) == 4
    assert node.get(address).status_code == 404
    part = node.get(address, headers={"Range": "bytes=5-", "If-Range": whole.headers["ETag"]})
    assert part.data == whole.data[5:]
    assert "archive_href" not in node.ticket([{"search": {}}])


@pytest.mark.contract("archive-directory/archive")
def test_nothing_is_offered_without_a_storage(archive_node: ArchiveNode) -> None:
    assert archive_node.get(f"/archive/{NAME}/").status_code == 404
    answer = archive_node.generate([{"dir": NAME}], headers=archive_node.client())
    assert answer.status_code == 422
