"""Small copies of pictures."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_model import FileRecord
from meteorpi_server.thumbnails import WIDTHS, default_directory, round_width
from tests.server.conftest import Node, id_of

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.engines("sqlite")


def picture(
    mode: str = "RGB", size: tuple[int, int] = (640, 480), file_format: str = "PNG", **save: object
) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 128).save(stream, file_format, **save)
    return stream.getvalue()


def thumbnail(node: Node, record: FileRecord, width: int | None = None) -> bytes:
    query = "" if width is None else f"?width={width}"
    answer = node.get(f"/files/thumbnail/{id_of(record).hex}{query}")
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "image/jpeg"
    return bytes(answer.data)


def kept(node: Node) -> list[Path]:
    return sorted((node.directory / "files-thumbnails").glob("*"))


def size_of(jpeg: bytes) -> tuple[int, int]:
    size: tuple[int, int] = Image.open(io.BytesIO(jpeg)).size
    return size


@pytest.mark.parametrize(("asked", "given"), [(None, 220), (1, 110), (220, 220), (221, 440), (5000, 640)])
def test_widths_are_rounded_up_and_never_beyond_the_picture(
    node: Node, asked: int | None, given: int
) -> None:
    record = node.add_file(picture(), mime_type="image/png")

    width, height = size_of(thumbnail(node, record, asked))

    assert width == given
    assert abs(height - given * 480 / 640) <= 0.5


@pytest.mark.contract("issue-2.4/thumbnails")
@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "JPEG"),
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "GIF"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("CMYK", "JPEG"),
        ("F", "TIFF"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
    ],
)
def test_pictures_of_every_kind_become_jpeg(node: Node, mode: str, file_format: str) -> None:
    record = node.add_file(picture(mode, file_format=file_format), mime_type="image/x")

    assert size_of(thumbnail(node, record)) == (220, 165)


def test_pictures_stand_upright(node: Node) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    record = node.add_file(picture(file_format="JPEG", exif=exif), mime_type="image/jpeg")

    assert size_of(thumbnail(node, record)) == (220, 293)


def test_sixteen_bit_pictures_are_stretched_not_white(node: Node) -> None:
    image = Image.new("I;16", (300, 200), 1000)
    image.putpixel((0, 0), 0)
    image.paste(Image.new("I;16", (200, 200), 4000), (100, 0))
    stream = io.BytesIO()
    image.save(stream, "PNG")

    made = Image.open(io.BytesIO(thumbnail(node, node.add_file(stream.getvalue(), mime_type="image/png"))))

    assert 50 < made.getpixel((20, 80)) < 80
    assert made.getpixel((200, 80)) > 240


@pytest.mark.contract("issue-2.4/thumbnails")
def test_thumbnails_are_made_once_and_kept(node: Node) -> None:
    record = node.add_file(picture(), mime_type="image/png")
    first = thumbnail(node, record)

    (path,) = kept(node)
    path.write_bytes(first + b"mark")

    assert thumbnail(node, record) == first + b"mark"
    assert path.name.startswith(id_of(record).hex)


def test_kept_thumbnails_take_no_more_than_their_room(make_node: Callable[..., Node]) -> None:
    node = make_node(thumbnail_cache_bytes=8000)
    node.add_status()
    shelf_size = []
    for number in range(70):
        record = node.add_file(picture(size=(300 + number, 300)), mime_type="image/png")
        thumbnail(node, record)
        shelf_size.append(len(kept(node)))

    assert max(shelf_size) > shelf_size[-1] > 0


def test_a_node_can_keep_none(make_node: Callable[..., Node]) -> None:
    node = make_node(thumbnail_cache_bytes=0)
    node.add_status()

    thumbnail(node, node.add_file(picture(), mime_type="image/png"))

    assert kept(node) == []


def test_repeated_requests_are_answered_by_tag(node: Node) -> None:
    record = node.add_file(picture(), mime_type="image/png")
    address = f"/files/thumbnail/{id_of(record).hex}"
    etag = node.get(address).headers["ETag"]

    assert node.get(address, headers={"If-None-Match": etag}).status_code == 304
    assert node.get(f"{address}?width=440", headers={"If-None-Match": etag}).status_code == 200
    assert node.http.head(address).status_code == 200


DAMAGED = {
    "empty": b"",
    "text": b"no picture at all",
    "cut off png": picture()[:200],
    "cut off jpeg": picture(file_format="JPEG")[:300],
    "header only": picture()[:24],
    "wrong checksum": picture()[:40] + b"\0\0\0\0" + picture()[44:],
    "cut off tiff": picture(file_format="TIFF")[:100],
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("kind", sorted(DAMAGED))
def test_damaged_pictures_have_no_thumbnail(node: Node, kind: str) -> None:
    record = node.add_file(DAMAGED[kind], mime_type="image/png")

    answer = node.get(f"/files/thumbnail/{id_of(record).hex}")

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["entity_id"] == id_of(record).hex
    assert "picture" in answer.json["message"]
    assert kept(node) == []


def test_enormous_pictures_are_not_decoded(make_node: Callable[..., Node]) -> None:
    node = make_node(thumbnail_max_pixels=640 * 480 - 1)
    node.add_status()
    record = node.add_file(picture(), mime_type="image/png")

    answer = node.get(f"/files/thumbnail/{id_of(record).hex}")

    assert answer.status_code == 404
    assert "pixels" in answer.text


@pytest.mark.contract("issue-2.4/thumbnails")
def test_bombs_are_not_decoded(node: Node) -> None:
    size = struct.pack(">II", 60_000, 60_000)  # in a header of few bytes, asking for gigabytes
    header = b"IHDR" + size + b"\x08\x02\0\0\0"
    bomb = picture()[:12] + header + struct.pack(">I", zlib.crc32(header)) + picture()[33:]

    answer = node.get(f"/files/thumbnail/{id_of(node.add_file(bomb, mime_type='image/png')).hex}")

    assert answer.status_code == 404


@pytest.mark.parametrize("width", ["0", "-1", "x", "1.5", "", "999999"])
def test_bad_widths_are_400(node: Node, width: str) -> None:
    record = node.add_file(picture(), mime_type="image/png")

    assert node.get(f"/files/thumbnail/{id_of(record).hex}?width={width}").status_code == 400


def test_missing_content_has_no_thumbnail(node: Node) -> None:
    record = node.add_file(picture(), mime_type="image/png")
    node.db.store.delete(id_of(record))

    assert node.get(f"/files/thumbnail/{id_of(record).hex}").status_code == 404


def test_thumbnails_lie_beside_a_local_store() -> None:
    assert default_directory("/var/lib/files") == Path("/var/lib/files-thumbnails")
    assert default_directory("memory:") is None
    assert [round_width(width) for width in (1, 110, 111, 9999)] == [110, 110, 220, WIDTHS[-1]]


def fits(*headers: list[str]) -> bytes:
    """A FITS file with these headers behind each other, and the bytes of a picture of 8 by 6 pixels."""
    units = ["".join(f"{card:<80}" for card in [*header, "END"]).encode().ljust(2880) for header in headers]
    return b"".join(units) + bytes(range(48)).ljust(2880, b"\0")


def cards(**values: object) -> list[str]:
    return [f"{name:<8}= {value}" for name, value in values.items()]


PICTURE = cards(SIMPLE="T", BITPIX=8, NAXIS=2, NAXIS1=8, NAXIS2=6)
COMPRESSED = cards(
    XTENSION="'BINTABLE'", ZIMAGE="T", ZCMPTYPE="'GZIP_1  '", BITPIX=8, NAXIS=2, NAXIS1=8, NAXIS2=1,
    ZBITPIX=8, ZNAXIS=2, ZNAXIS1=8, ZNAXIS2=6,
)  # fmt: skip


def test_fits_picture_of_a_meteor_camera_becomes_jpeg(node: Node) -> None:
    record = node.add_file(fits(PICTURE), mime_type="image/fits")

    assert size_of(thumbnail(node, record)) == (8, 6)


def test_fits_picture_of_an_rms_station_is_upright(node: Node) -> None:
    """Dark rows come first: at the bottom by the standard, at the top in what these stations write."""
    usual = node.add_file(fits(PICTURE), mime_type="image/fits")
    of_rms = node.add_file(fits([*PICTURE, *cards(NFRAMES=256, CAMNO="'XX0001'")]), mime_type="image/fits")

    assert bright_ends(thumbnail(node, usual)) == (True, False)
    assert bright_ends(thumbnail(node, of_rms)) == (False, True)


def bright_ends(jpeg: bytes) -> tuple[bool, bool]:
    """Whether the top, and the bottom, is brighter than the middle."""
    image = Image.open(io.BytesIO(jpeg)).convert("L")
    top, middle, bottom = (image.getpixel((4, row)) for row in (0, 3, 5))
    return top > middle, bottom > middle


@pytest.mark.parametrize(
    "content",
    [fits(cards(SIMPLE="T", BITPIX=8, NAXIS=0), COMPRESSED), fits(cards(SIMPLE="T")), fits(PICTURE)[:2880]],
)
def test_compressed_and_damaged_fits_pictures_are_not_found(node: Node, content: bytes) -> None:
    record = node.add_file(content, mime_type="image/fits")

    assert node.get(f"/files/thumbnail/{id_of(record).hex}").status_code == 404
