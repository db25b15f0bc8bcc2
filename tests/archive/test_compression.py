"""What is deflated in archives, and what that costs them."""

from __future__ import annotations

import io
import random
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from meteorpi_server.archive_api.compressing import compressed, deflated_body
from meteorpi_server.archiving import Form, Plan
from meteorpi_server.archiving.encoders import Encoder, encoder, find_encoder
from meteorpi_server.archiving.media_types import Shrinking, shrinking
from meteorpi_server.archiving.sources import TextSource
from tests.archive.conftest import ArchiveNode, opened
from tests.archive.faulty_source import FaultySource, serving
from tests.archive.plans import planned, text_entry

pytestmark = pytest.mark.engines("sqlite")

NOISE = random.Random(15).randbytes(100_000)
TEXT = b"2015-04-01 20:00 one more meteor\n" * 4000
EVERYTHING = [{"search": {"limit": 0}}]
NAME = "3bea29ccabbbf64bdebcc055319c5745"


def methods_of(answer: TestResponse) -> dict[str, int]:
    """How each entry is stored, by the last part of its name: 0 or 8."""
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        return {info.filename.rpartition("/")[2]: info.compress_type for info in archive.infolist()}


def add_records(node: ArchiveNode) -> None:
    for name, content, media_type in (
        ("track.txt", TEXT, "text/plain; charset=utf-8"),
        ("photo.jpg", TEXT, "image/jpeg"),  # by its type; its bytes are not looked at
        ("dump.dat", TEXT, "application/octet-stream"),
        ("noise.dat", NOISE, "application/octet-stream"),
        ("short.txt", b"x" * 255, "text/plain"),
        ("frame.fits", b"SIMPLE  =                    T" * 600 + NOISE, "image/fits"),
    ):
        node.add_file(content, mime_type=media_type, file_name=name)


@pytest.mark.contract("archive-3.15/auto", "archive-defect-23")
def test_what_shrinks_is_deflated_and_photographs_are_not(archive_node: ArchiveNode) -> None:
    add_records(archive_node)

    made = archive_node.ticket(EVERYTHING, compression="auto")
    answer = archive_node.get(made["href"])

    assert methods_of(answer) == {
        "MANIFEST.json": 8,
        "track.txt": 8,
        "photo.jpg": 0,
        "dump.dat": 8,
        "noise.dat": 0,
        "short.txt": 0,
        "frame.fits": 0,  # compressed inside, whatever its header is like
    }
    assert (made["sized"], made["bytes"], made["resumable"], made["etag"]) == (False, None, False, None)
    assert "Content-Length" not in answer.headers
    assert len(answer.data) < 4 * len(NOISE) + len(TEXT)
    contents = {name.rpartition("/")[2]: content for name, content in opened(answer).items()}
    assert contents["track.txt"] == contents["dump.dat"] == contents["photo.jpg"] == TEXT


@pytest.mark.contract("archive-3.15/store", "archive-defect-23")
def test_nothing_is_deflated_unless_it_is_asked_for(archive_node: ArchiveNode) -> None:
    add_records(archive_node)

    made = archive_node.ticket(EVERYTHING)

    assert made["resumable"]
    assert set(methods_of(archive_node.get(made["href"])).values()) == {0}


@pytest.mark.contract("archive-3.6/options")
def test_everything_is_deflated_on_demand(archive_node: ArchiveNode) -> None:
    add_records(archive_node)

    answer = archive_node.get(archive_node.ticket(EVERYTHING, compression="deflate", manifest=False)["href"])

    assert {name for name, method in methods_of(answer).items() if method == 0} == {"short.txt"}
    assert NOISE in opened(answer).values()


@pytest.mark.contract("archive-3.15/auto", "archive-3.15/at-hand", "archive-3.15/encoder")
def test_archive_of_photographs_keeps_its_length_and_its_parts(archive_node: ArchiveNode) -> None:
    for number in range(20):
        archive_node.add_file(NOISE[number:], mime_type="image/jpeg", file_name=f"{number:02}.jpg")

    made = archive_node.ticket(EVERYTHING, compression="auto")
    whole = archive_node.get(made["href"])
    part = archive_node.get(made["href"], headers={"Range": "bytes=100-5000"})

    assert made["resumable"]
    assert made["bytes"] == len(whole.data)
    assert methods_of(whole)["MANIFEST.json"] == 8  # deflated when the plan was made: its length is known
    assert part.status_code == 206
    assert part.data == whole.data[100:5001]
    assert len(opened(whole)) == 21


@pytest.mark.contract("archive-3.15/auto")
def test_type_of_a_file_in_a_directory_is_told_by_its_name(
    make_archive_node: Callable[..., ArchiveNode], tmp_path: Path
) -> None:
    (tmp_path / "storage" / NAME).mkdir(parents=True)
    for name in ("a.jpg", "a.json", "a.json.gz", "a.unknown", "table.csv"):
        (tmp_path / "storage" / NAME / name).write_bytes(NOISE if name.endswith("gz") else TEXT)
    node = make_archive_node(storage_path=str(tmp_path / "storage"))

    made = node.ticket([{"dir": NAME}], node.client("catalogue", "dir"), compression="auto")
    answer = node.get(made["href"])

    expected = {"a.jpg": 0, "a.json": 8, "a.json.gz": 0, "a.unknown": 8, "table.csv": 8}
    assert methods_of(answer) == expected
    assert opened(answer)["a.unknown"] == TEXT


@pytest.mark.contract("archive-3.15/auto")
def test_contents_of_other_servers_are_judged_by_their_type_or_on_their_way(
    make_archive_node: Callable[..., ArchiveNode],
) -> None:
    routes = {
        "/typed": serving(TEXT, Content_Type="text/csv"),
        "/photo": serving(TEXT, Content_Type="image/jpeg"),
        "/either": serving(TEXT),
        "/noise": serving(NOISE),
    }
    with FaultySource(dict(routes)) as server:
        node = make_archive_node(allowed_sources=[server.url()], retries=0)
        items = [server.url(path) for path in routes]
        made = node.ticket(items, node.client("catalogue", "url"), compression="auto", on_error="skip")
        answer = node.get(made["href"])

    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
    assert sizes["typed"] < len(TEXT) / 10
    assert sizes["either"] < len(TEXT) / 10
    assert sizes["photo"] >= len(TEXT)
    assert len(NOISE) <= sizes["noise"] <= len(NOISE) + 100
    assert list(opened(answer).values()) == [TEXT, TEXT, TEXT, NOISE]


@pytest.mark.parametrize(
    ("media_type", "name", "expected"),
    [
        ("text/plain", "", Shrinking.YES),
        ("TEXT/CSV; header=present", "", Shrinking.YES),
        ("application/geo+json", "", Shrinking.YES),
        ("audio/wav", "", Shrinking.YES),
        ("image/bmp", "", Shrinking.YES),
        ("image/svg+xml", "", Shrinking.YES),
        ("image/png", "a.txt", Shrinking.NO),
        ("video/mp4", "", Shrinking.NO),
        ("audio/mpeg", "", Shrinking.NO),
        ("application/zstd", "", Shrinking.NO),
        ("image/fits", "", Shrinking.UNKNOWN),
        ("image/tiff", "", Shrinking.UNKNOWN),
        ("text/plain", "log.gz", Shrinking.UNKNOWN),
        ("", "NIGHT.LOG", Shrinking.YES),
        ("application/octet-stream", "a.zip", Shrinking.NO),
        ("", "no-ending", Shrinking.UNKNOWN),
        ("application/x-own", "a.txt", Shrinking.UNKNOWN),
    ],
)
def test_type_says_what_shrinks(media_type: str, name: str, expected: Shrinking) -> None:
    assert shrinking(media_type, name) is expected


@pytest.mark.contract("archive-3.15/auto")
def test_content_whose_body_may_not_fit_into_32_bits_is_stored() -> None:
    huge = planned("a.txt", 1 << 32)

    assert compressed(huge, "text/plain", "deflate", {}) is huge
    assert compressed(planned("a.txt", 1 << 31), "text/plain", "auto", {}).form is Form.STREAMED


@pytest.mark.contract("archive-3.15/encoder")
def test_body_at_hand_names_its_encoder_and_is_left_alone_where_it_would_grow() -> None:
    body = deflated_body(text_entry("MANIFEST.json", TEXT))

    assert body.details["encoder"] == encoder.identity == find_encoder().identity
    assert zlib.decompress(body.body, -zlib.MAX_WBITS) == TEXT
    assert Plan((body,)).is_resumable
    assert deflated_body(text_entry("noise", NOISE)).form is Form.STORED


def test_standard_library_is_the_encoder_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "isal", None)
        plain: Encoder = find_encoder()

    body = b"".join(plain.deflated([TEXT, NOISE]))

    assert plain.identity == f"zlib {zlib.ZLIB_RUNTIME_VERSION} level 1"
    assert zlib.decompress(body, -zlib.MAX_WBITS) == TEXT + NOISE


@pytest.mark.contract("archive-3.15/auto")
def test_real_recordings_are_deflated_where_that_pays(shared_data: Path) -> None:
    for path in (each for each in shared_data.rglob("*") if each.is_file()):
        content = path.read_bytes()
        entry = text_entry(path.name, content)

        chosen = compressed(entry, "", "auto", {"text": TextSource()}).form

        ratio = sum(map(len, encoder.deflated((content,)))) / max(1, len(content))
        if path.suffix in {".png", ".jpg", ".avi", ".zip"} or ratio > 0.95 or len(content) < 256:
            assert chosen is Form.STORED, path.name
        elif ratio < 0.85:
            assert chosen is Form.STREAMED, path.name
