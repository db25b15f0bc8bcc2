"""The bytes of files over HTTP: ranges, conditions, names, and files that must not run as pages."""

from __future__ import annotations

import base64
import email
import hashlib
from functools import partial
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_db.filestore import MemoryFileStore
from meteorpi_model import FileRecord, get_md5_hash
from meteorpi_server.content import Content, disposition, safe_content_type
from tests.server.conftest import Node, id_of

pytestmark = pytest.mark.engines("sqlite")

BYTES = bytes(range(256)) * 4


@pytest.fixture
def record(node: Node) -> FileRecord:
    return node.add_file(BYTES, mime_type="image/png", file_name="meteor.png")


def named(name: str | None, content_type: str) -> Content:
    store = MemoryFileStore()
    return Content(
        size=0,
        content_type=content_type,
        md5="",
        sha256=None,
        file_name=name,
        open=partial(store.open, uuid4()),
    )


def url(record: FileRecord) -> str:
    return f"/files/content/{id_of(record).hex}"


@pytest.mark.contract("8.1/content", "8.1/content-name", "8.1/type", "8.1/full")
def test_whole_content_comes_with_its_type_length_tag_and_name(node: Node, record: FileRecord) -> None:
    answer = node.get(url(record))

    assert answer.status_code == 200
    assert answer.data == BYTES
    assert answer.content_type == "image/png"
    assert answer.headers["Content-Length"] == str(len(BYTES))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == f'"{record.md5}"'
    assert answer.headers["Content-Disposition"] == 'inline; filename="meteor.png"'
    sha256 = base64.b64encode(hashlib.sha256(BYTES).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{sha256}:"
    assert node.get(url(record) + "/any/name at all.png").data == BYTES


@pytest.mark.contract("8.1/range", "8.1/open-range", "8.1/type")
@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=1000-", 1000, 1023),
        ("bytes=-24", 1000, 1023),
        ("bytes=1000-9999", 1000, 1023),
    ],
)
def test_a_range_is_partial_content(
    node: Node, record: FileRecord, header: str, first: int, last: int
) -> None:
    answer = node.get(url(record), headers={"Range": header})

    assert answer.status_code == 206
    assert answer.data == BYTES[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/1024"
    assert answer.headers["Content-Length"] == str(last + 1 - first)
    assert answer.content_type == "image/png"


@pytest.mark.contract("8.1/unsatisfiable")
def test_a_range_beyond_the_end_is_416(node: Node, record: FileRecord) -> None:
    answer = node.get(url(record), headers={"Range": "bytes=1024-"})

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */1024"
    assert answer.content_type == "application/problem+json"


@pytest.mark.contract("8.1/malformed-range")
@pytest.mark.parametrize("header", ["bytes=9-0", "bytes=x", "lines=0-9", "bytes", "0-9"])
def test_malformed_ranges_are_ignored(node: Node, record: FileRecord, header: str) -> None:
    answer = node.get(url(record), headers={"Range": header})

    assert answer.status_code == 200
    assert answer.data == BYTES


@pytest.mark.contract("8.1/several-ranges")
def test_several_ranges_come_in_parts(node: Node, record: FileRecord) -> None:
    answer = node.get(url(record), headers={"Range": "bytes=0-3, -2"})

    assert answer.status_code == 206
    assert len(answer.data) == int(answer.headers["Content-Length"])
    message = email.message_from_bytes(f"Content-Type: {answer.content_type}\r\n\r\n".encode() + answer.data)
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == ["bytes 0-3/1024", "bytes 1022-1023/1024"]
    assert [part.get_content_type() for part in parts] == ["image/png", "image/png"]
    assert BYTES[:4] in answer.data


@pytest.mark.contract("8.1/full", "issue-2.4/etags")
def test_conditions_are_kept(node: Node, record: FileRecord) -> None:
    tag, other = f'"{record.md5}"', '"0123"'

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return node.get(url(record), headers=named).status_code

    assert status(If_None_Match=tag) == 304
    assert status(If_None_Match=f"W/{tag}") == 304
    assert status(If_None_Match="*") == 304
    assert status(If_None_Match=other) == 200
    assert status(If_None_Match=tag, Range="bytes=0-1") == 304
    assert status(If_Match=tag) == 200
    assert status(If_Match=other) == 412
    assert status(If_Range=tag, Range="bytes=0-1") == 206
    assert status(If_Range=other, Range="bytes=0-1") == 200
    assert status(If_Range=f"W/{tag}", Range="bytes=0-1") == 200
    assert status(If_Range="Wed, 21 Oct 2015 07:28:00 GMT", Range="bytes=0-1") == 200


@pytest.mark.contract("8.1/head-options")
def test_head_says_what_get_would(node: Node, record: FileRecord) -> None:
    whole, part = node.http.head(url(record)), node.http.head(url(record), headers={"Range": "bytes=0-9"})

    assert (whole.status_code, whole.data, whole.headers["Content-Length"]) == (200, b"", "1024")
    assert (part.status_code, part.data, part.headers["Content-Length"]) == (206, b"", "10")


@pytest.mark.contract("8.1/content")
def test_empty_content_is_content(node: Node) -> None:
    record = node.add_file(b"")

    assert (node.get(url(record)).status_code, node.get(url(record)).data) == (200, b"")
    assert node.get(url(record), headers={"Range": "bytes=0-"}).status_code == 200


@pytest.mark.contract("8.1/html", "B-34")
@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/xhtml+xml", "attachment"),
        ("text/xml", "attachment"),
        ("application/javascript", "attachment"),
        ("application/pdf", "attachment"),
        ("IMAGE/SVG+XML", "attachment"),
        ("image/jpeg", "inline"),
        ("video/mp4", "inline"),
        ("text/plain", "inline"),
        ("application/json", "inline"),
    ],
)
def test_no_file_can_run_as_a_page_of_this_site(node: Node, mime_type: str, kind: str) -> None:
    answer = node.get(url(node.add_file(b"<script>alert(1)</script>", mime_type=mime_type)))

    assert answer.content_type == mime_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["Content-Disposition"].partition(";")[0] == kind


@pytest.mark.contract("8.1/type")
@pytest.mark.parametrize(
    "mime_type", ["text/html\r\nX-Evil: 1", "no type", "ünïcode/plain", "a/b; c=\n", "/", "a/", "*"]
)
def test_types_that_cannot_stand_in_a_header_become_bytes(mime_type: str) -> None:
    assert safe_content_type(mime_type) == "application/octet-stream"


@pytest.mark.contract("8.1/full", "faults/names")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.png", 'inline; filename="a b.png"'),
        (
            "Überflug ☄.png",
            "inline; filename=\"_berflug _.png\"; filename*=UTF-8''%C3%9Cberflug%20%E2%98%84.png",
        ),
        ('a"b.png', "inline; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"),
        ("100%.png", "inline; filename=\"100_.png\"; filename*=UTF-8''100%25.png"),
        ("../../etc/passwd", 'inline; filename=".._.._etc_passwd"'),
        ("a\r\nX-Evil: 1", 'inline; filename="a__X-Evil: 1"'),
        ("", "inline"),
        (None, "inline"),
    ],
)
def test_names_of_every_kind_travel(name: str | None, expected: str) -> None:
    content = named(name, "image/png")

    assert disposition(content) == expected


@pytest.mark.contract("faults/names")
@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_can_stand_in_a_header(name: str) -> None:
    content = named(name, "x/y")

    disposition(content).encode("ascii")
    assert not set(disposition(content)) & set("\r\n\0")


@pytest.mark.contract("8.1/content-name", "faults/names")
def test_names_with_anything_in_them_can_be_fetched(node: Node) -> None:
    name = "Ünïcode / slash \\ and \t control.txt"
    record = node.add_file(file_name=name)

    answer = node.get(f"{url(record)}/{quote(name, safe='')}")

    assert answer.data == b"hello meteor"
    assert "%C3%9Cn%C3%AFcode" in answer.headers["Content-Disposition"]


@pytest.mark.contract("8.1/content", "S-140")
def test_missing_content_is_404_and_damaged_content_503(node: Node) -> None:
    missing, torn, marked = node.add_file(b"missing"), node.add_file(b"torn"), node.add_file(b"marked")
    node.db.store.delete(id_of(missing))
    path = node.db.file_path_for_id(id_of(torn))
    path.chmod(0o644)
    path.write_bytes(b"to")
    node.db.mark_corrupt(id_of(marked))

    assert node.get(url(missing)).status_code == 404
    assert node.http.head(url(missing)).status_code == 404
    for record in (torn, marked):
        answer = node.get(url(record))
        assert answer.status_code == 503
        assert answer.json is not None
        assert answer.json["code"] == "corrupt"
        assert answer.json["entity_id"] == id_of(record).hex


@pytest.mark.contract("8.1/content")
def test_served_bytes_are_the_registered_ones(node: Node, record: FileRecord) -> None:
    copy = node.directory / "copy"
    copy.write_bytes(node.get(url(record)).data)

    assert get_md5_hash(copy) == record.md5
