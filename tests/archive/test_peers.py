"""Contents of other nodes: their checksums are asked for, so that archives of them have length and parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from meteorpi_db.records.files import NewFile
from meteorpi_model import FileRecord, NSString
from meteorpi_server import MeteorServer
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.archive.faulty_source import FaultySource, serving
from tests.cli.conftest import add_status

pytestmark = pytest.mark.engines("sqlite")

CAMERA = "ffeeddccbbaa"
CONTENTS = [bytes([65 + number]) * (40_000 + number) for number in range(3)]
MD5 = "0" * 32


@pytest.fixture
def station(tmp_path: Path) -> Iterator[MeteorServer]:
    """A node with three files, and its routes."""
    server = MeteorServer(str(tmp_path / "station.db"), str(tmp_path / "station"), 0)
    stop = server.start_non_blocking()
    add_status(server.db, NOON - timedelta(days=1), CAMERA)
    for number, content in enumerate(CONTENTS):
        new = NewFile(
            mime_type="image/jpeg",
            semantic_type=NSString("test_file"),
            file_time=NOON + timedelta(seconds=number),
            metas=[],
            camera_id=CAMERA,
            file_name=f"{number}.jpg",
        )
        server.db.add_file(new, [content], file_id=UUID(int=number + 1))
    yield server
    stop()
    server.db.close()


def urls_of(base_url: str) -> list[object]:
    return [
        f"{base_url.rstrip('/')}/files/content/{UUID(int=number + 1).hex}/x.jpg"
        for number in range(len(CONTENTS))
    ]


@pytest.mark.contract("archive-3.14/peers")
@pytest.mark.parametrize("transport", ["requests-like", "httpx-like"])
def test_archive_of_what_a_peer_holds_has_length_and_parts_before_anything_is_fetched(
    station: MeteorServer, make_archive_node: Callable[..., ArchiveNode], transport: str
) -> None:
    node = make_archive_node(peers=[f"station1={station.base_url()}"], transport=transport)
    secret = node.client("catalogue", "url")

    made = node.ticket(urls_of(station.base_url()), secret)
    again = node.ticket(urls_of(station.base_url()), secret)
    part = node.get(made["href"], headers={"Range": "bytes=50000-50099"})
    whole = node.get(made["href"])

    assert (made["sized"], made["resumable"], made["bytes"]) == (True, True, len(whole.data))
    assert again["etag"] == made["etag"]
    assert (part.status_code, part.data) == (206, whole.data[50000:50100])
    assert list(opened(whole)) == [f"{number}.jpg" for number in range(3)]
    assert list(opened(whole).values()) == CONTENTS


@pytest.mark.contract("archive-3.14/peers")
@pytest.mark.parametrize(("is_peer", "on_error"), [(False, "abort"), (True, "skip")])
def test_others_are_not_asked_and_what_may_be_left_out_has_no_length(
    station: MeteorServer, make_archive_node: Callable[..., ArchiveNode], is_peer: bool, on_error: str
) -> None:
    peers = [f"station1={station.base_url()}"] if is_peer else []
    node = make_archive_node(peers=peers, allowed_sources=[station.base_url()])

    made = node.ticket(urls_of(station.base_url()), node.client("catalogue", "url"), on_error=on_error)

    assert (made["sized"], made["resumable"]) == (not is_peer, False)
    assert list(opened(node.get(made["href"])).values())[:3] == CONTENTS


def described(**changes: Any) -> bytes:
    """What a node says of a file of seven bytes, but for `changes`."""
    record = FileRecord(
        camera_id=CAMERA,
        mime_type="image/jpeg",
        semantic_type=NSString("test_file"),
        status_id=UUID(int=2),
        md5=MD5,
    )
    record.file_time = NOON
    content = {"size": 7, "md5": MD5, "sha256": "0" * 64, "crc32": 1} | changes
    return json.dumps({"file": record.as_dict(), "content": content}).encode()


@pytest.mark.contract("archive-3.14/peers")
@pytest.mark.parametrize(
    ("description", "is_believed"),
    [
        (described(), True),
        (described(size=8), False),
        (described(md5="1" * 32), False),
        (described(crc32=1 << 32), False),
        (described(crc32=None), False),
        (b"no JSON", False),
        (b"[]", False),
        (b"{}", False),
        (described() + b" " * 300_000, False),
        (None, False),
    ],
    ids=["right", "size", "md5", "large crc", "no crc", "text", "list", "empty", "long", "missing"],
)
def test_description_that_does_not_fit_the_content_is_passed_over(
    make_archive_node: Callable[..., ArchiveNode], description: bytes | None, is_believed: bool
) -> None:
    file_id = UUID(int=1).hex
    routes = {f"/node/files/content/{file_id}": serving(b"content", ETag=f'"{MD5}"')}
    if description is not None:
        routes[f"/node/file/{file_id}"] = serving(description)
    with FaultySource(routes) as source:
        node = make_archive_node(peers=[f"station1={source.url('/node')}"])
        made = node.ticket([source.url(f"/node/files/content/{file_id}")], node.client("catalogue", "url"))
        asked = {exchange.target: exchange.method for exchange in source.requests}

    assert (made["sized"], made["resumable"]) == (True, is_believed)
    assert asked == {f"/node/files/content/{file_id}": "HEAD", f"/node/file/{file_id}": "GET"}
