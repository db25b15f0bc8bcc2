"""Damaged files are recognised, sound ones pass."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from meteorpi_db.ingest.damage import FITS_BLOCK_BYTES, find_damage
from meteorpi_db.ingest.media import media_of


def picture(kind: str) -> bytes:
    noise = Image.effect_noise((97, 61), 80).convert("RGB")
    stream = io.BytesIO()
    noise.save(stream, kind)
    return stream.getvalue()


def fits(*, pixels: int = 5760) -> bytes:
    def header(*cards: str) -> bytes:
        text = "".join(card.ljust(80) for card in (*cards, "END"))
        return text.ljust(-(-len(text) // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES).encode()

    primary = header(
        "SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"
    )
    image = header(
        "XTENSION= 'IMAGE   '",
        "BITPIX  =                   16",
        "NAXIS   =                    1",
        f"NAXIS1  = {pixels:20d}",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
    )
    return primary + image + b"\1" * (2 * pixels + -2 * pixels % FITS_BLOCK_BYTES)


def mp4(*names: bytes) -> bytes:
    return b"".join(struct.pack(">I4s", 24, name) + b"\1" * 16 for name in names)


def avi() -> bytes:
    return b"RIFF" + struct.pack("<I", 40) + b"AVI " + b"\1" * 36


SOUND = {
    "a.jpg": picture("JPEG"),
    "a.png": picture("PNG"),
    "a.bmp": picture("BMP"),
    "a.gif": picture("GIF"),
    "a.tiff": picture("TIFF"),
    "a.webp": picture("WEBP"),
    "a.fits": fits(),
    "a.mp4": mp4(b"ftyp", b"mdat", b"moov"),
    "a.avi": avi(),
    "a.json": json.dumps({"a": 1}).encode(),
    "a.txt": b"anything",
}


def damage(directory: Path, name: str, content: bytes) -> str | None:
    path = directory / name
    path.write_bytes(content)
    return find_damage(path, media_of(name).mime_type)


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_pass(name: str, tmp_path: Path) -> None:
    assert damage(tmp_path, name, SOUND[name]) is None


@pytest.mark.parametrize("name", SOUND)
def test_empty_files_are_damaged(name: str, tmp_path: Path) -> None:
    assert damage(tmp_path, name, b"") == "the file is empty"


@pytest.mark.parametrize("name", SOUND)
def test_files_of_zero_bytes_are_damaged(name: str, tmp_path: Path) -> None:
    assert "power cut" in str(damage(tmp_path, name, bytes(5000)))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.fits", "a.mp4", "a.avi", "a.webp"])
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_is_damaged(name: str, tmp_path: Path, data: st.DataObject) -> None:
    whole = SOUND[name]
    cut = data.draw(st.integers(1, len(whole) - 1))

    assert damage(tmp_path, name, whole[:cut]) is not None


@pytest.mark.parametrize("name", [name for name in SOUND if name != "a.txt"])
@given(content=st.binary(min_size=1, max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_makes_the_test_itself_fail(name: str, tmp_path: Path, content: bytes) -> None:
    found = damage(tmp_path, name, content)

    assert found is not None or name in ("a.json", "a.tiff", "a.gif")


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.png", "a.gif", "a.tiff", "a.bmp", "a.webp", "a.avi", "a.mp4", "a.fits"]
)
def test_what_is_something_else_is_damaged(name: str, tmp_path: Path) -> None:
    assert damage(tmp_path, name, b"<!DOCTYPE html><html><body>404 not found</body></html>" * 20) is not None


def test_bytes_behind_a_jpeg_are_no_damage(tmp_path: Path) -> None:
    assert damage(tmp_path, "a.jpg", SOUND["a.jpg"] + b"data of the maker") is None


def test_a_flipped_byte_fails_the_checksum_of_a_png(tmp_path: Path) -> None:
    content = bytearray(SOUND["a.png"])
    content[len(content) // 2] ^= 1

    assert damage(tmp_path, "a.png", bytes(content)) == "the PNG picture fails its checksum"


def test_missing_padding_behind_the_last_fits_data_is_no_damage(tmp_path: Path) -> None:
    whole = fits(pixels=1441)

    assert damage(tmp_path, "a.fits", whole[: 2 * FITS_BLOCK_BYTES + 2882]) is None
    assert damage(tmp_path, "a.fits", whole[: 2 * FITS_BLOCK_BYTES + 2881]) is not None


def test_recordings_that_were_never_finished_are_damaged(tmp_path: Path) -> None:
    assert "never finished" in str(damage(tmp_path, "a.mp4", mp4(b"ftyp", b"mdat")))
    assert "never finished" in str(damage(tmp_path, "a.avi", b"RIFF\0\0\0\0AVI " + b"\1" * 50))


def test_a_video_of_several_riff_chunks_is_sound(tmp_path: Path) -> None:
    assert damage(tmp_path, "a.avi", avi() + avi()) is None
    assert damage(tmp_path, "b.avi", avi() + avi()[:-1]) is not None


def test_real_files_are_sound(shared_data: Path) -> None:
    paths = [path for path in shared_data.rglob("*") if path.is_file()]

    assert {path.name: find_damage(path, media_of(path.name).mime_type) for path in paths} == {
        path.name: None for path in paths
    }
