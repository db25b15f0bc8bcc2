"""``timelapse``."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import TooLargeError
from meteorpi_server.cli import motion_jpeg
from meteorpi_server.cli.motion_jpeg import MotionJpegWriter
from tests.cli.conftest import Meteorpi, add_file

Image = pytest.importorskip("PIL.Image")
RANGE = ("2015-04-01", "2015-04-02")


def picture(shade: int, size: tuple[int, int] = (320, 200)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(stream, "PNG")
    return stream.getvalue()


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a RIFF list, each with its name."""
    found = []
    while content:
        name, length = struct.unpack("<4sI", content[:8])
        found.append((name, content[8 : 8 + length]))
        content = content[8 + length + length % 2 :]
    return found


def frames_of(film: bytes) -> list[bytes]:
    """The pictures of an AVI file, found by its index and by walking through it."""
    ((riff, whole),) = chunks(film)
    assert (riff, whole[:4]) == (b"RIFF", b"AVI ")
    (_, header), (_, movie), (_, index) = chunks(whole[4:])
    assert (header[:4], movie[:4]) == (b"hdrl", b"movi")
    walked = [content for _, content in chunks(movie[4:])]
    entries = [struct.unpack("<4sIII", index[place : place + 16]) for place in range(0, len(index), 16)]
    indexed = [movie[offset + 8 : offset + 8 + size] for _, _, offset, size in entries]
    assert walked == indexed
    assert struct.unpack("<I", header[4 + 8 + 16 : 4 + 8 + 20]) == (len(walked),)
    return walked


@pytest.mark.contract("14.4/timelapse", "14.4/view-images")
def test_film_has_the_pictures_in_order_of_time(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    for minute in (3, 1, 2, 4):
        add_file(node, minute, picture(50 * minute))
    add_file(node, 5, b"text", mime_type="text/plain")

    done = meteorpi("timelapse", "night.avi", *RANGE, "--label", "Farm", "--json")

    assert (done.code, done.json["pictures"]) == (0, 4)
    images = [Image.open(io.BytesIO(frame)) for frame in frames_of((home / "night.avi").read_bytes())]
    assert {image.size for image in images} == {(320, 200)}
    shades = [image.convert("L").getpixel((300, 20)) for image in images]
    assert all(abs(shade - 50 * minute) < 5 for shade, minute in zip(shades, (1, 2, 3, 4), strict=True))
    assert len({image.convert("L").getextrema() for image in images[:1]}) == 1
    assert images[0].convert("L").getextrema()[1] > 200  # what is written into it is white


@pytest.mark.contract("14.4/timelapse")
def test_every_nth_picture_of_one_type_at_a_width(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    for minute in range(6):
        add_file(node, minute, picture(100, (1600, 1000)), semantic_type="frame" if minute < 5 else "other")

    options = ["--type", "frame", "--stride", "2", "--width", "220", "--fps", "2.5"]
    done = meteorpi("timelapse", "night.avi", *RANGE, *options, "--json")

    assert done.json["pictures"] == 3
    images = [Image.open(io.BytesIO(frame)) for frame in frames_of((home / "night.avi").read_bytes())]
    assert {image.width for image in images} == {220}


@pytest.mark.contract("14.4/timelapse")
def test_pictures_that_cannot_be_read_are_left_out(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    add_file(node, 1, picture(100))
    add_file(node, 2, b"not a picture")

    done = meteorpi("timelapse", "night.avi", *RANGE, "--json")

    assert done.code == 1
    assert (done.json["pictures"], done.json["left_out"]) == (1, 1)
    assert len(frames_of((home / "night.avi").read_bytes())) == 1


def test_no_picture_is_no_film(meteorpi: Meteorpi, node: MeteorDatabase, home: Path) -> None:
    assert meteorpi("timelapse", "night.avi", *RANGE).code == 5
    assert not list(home.glob("*night.avi*"))


def test_film_that_players_could_not_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_jpeg, "MAX_BYTES", 100)

    with MotionJpegWriter(io.BytesIO(), 8, 8, 10) as film:
        film.add(bytes(60))
        with pytest.raises(TooLargeError):
            film.add(bytes(60))
