"""``meteorpi timelapse``: a film of the pictures of a range of times."""

from __future__ import annotations

import importlib.util
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import FileRecord, FileRecordSearch, NSString
from meteorpi_model.errors import ConfigurationError, NotFoundError
from meteorpi_server.cli.motion_jpeg import MotionJpegWriter
from meteorpi_server.cli.output import Output, json_option, progress, time_text
from meteorpi_server.cli.parameters import TYPE
from meteorpi_server.cli.reports import chosen_camera, every, range_arguments
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.thumbnails import WIDTHS, Shelf, round_width

_QUALITY = 85
_MARGIN = 8


@click.command()
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@range_arguments
@click.option("--type", "semantic_type", type=TYPE, help="Image type; any picture if not given.")
@click.option("--stride", type=click.IntRange(1), default=1, help="Every so manieth picture only.")
@click.option("--fps", type=click.FloatRange(0.1, 120), default=10.0, help="Pictures shown in a second.")
@click.option("--width", type=click.IntRange(1, WIDTHS[-1]), default=640, help="Of the film, in pixels.")
@json_option
@pass_setup
def timelapse(
    setup: Setup,
    output: Output,
    target: Path,
    label: str | None,
    semantic_type: NSString | None,
    stride: int,
    fps: float,
    width: int,
    **interval: Any,
) -> int:
    """Make a film (AVI, motion JPEG) of the pictures of a camera in a range of times.

    FROM, TO and CAMERA are those of `meteorpi report`. The time is written into each picture, and the label
    if there is one. Pictures that cannot be read are left out.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ConfigurationError("films need Pillow: pip install 'meteorpi[images]'")
    with setup.open_database() as database:
        camera_id = chosen_camera(database, interval.pop("camera_id"))
        search = FileRecordSearch(camera_id, semantic_type=semantic_type, limit=0, **interval)
        images = [each for each in database.iterate_files(search) if each.mime_type.startswith("image/")]
        chosen = list(every(stride, images[::-1]))
        frames = read_frames(database, chosen, width, setup.settings.thumbnail_max_pixels)
        count = write_film(target, frames, len(chosen), label, fps)
    output.facts({"path": str(target), "pictures": count, "left_out": len(chosen) - count})
    return 0 if count == len(chosen) else 1


def read_frames(
    database: MeteorDatabase, records: list[FileRecord], width: int, max_pixels: int
) -> Iterator[tuple[FileRecord, bytes]]:
    """Each picture that can be read, as a JPEG at most so wide."""
    shelf = Shelf(database.store, None, 0, max_pixels)
    for record in records:
        if record.file_id is None:
            continue
        try:
            yield record, shelf.thumbnail(record.file_id, record.md5 or "", round_width(width))
        except NotFoundError:
            continue


def write_film(
    target: Path, frames: Iterator[tuple[FileRecord, bytes]], total: int, label: str | None, fps: float
) -> int:
    """Write the film under a temporary name, then give it its own; gives the number of pictures.

    Raises:
        NotFoundError: there is no picture.
    """
    first = next(frames, None)
    if first is None:
        raise NotFoundError("there is no picture to make a film of")
    temporary = target.with_name(f".{target.name}.part")
    count = 0
    try:
        with temporary.open("wb") as stream, progress("making the film") as advance:
            size = _size_of(first[1])
            with MotionJpegWriter(stream, *size, fps) as film:
                for count, (record, jpeg) in enumerate(itertools.chain([first], frames), start=1):
                    film.add(
                        _finished(jpeg, size, f"{label or record.camera_id}  {time_text(record.file_time)}")
                    )
                    advance(count, total)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _size_of(jpeg: bytes) -> tuple[int, int]:
    from PIL import Image

    width, height = Image.open(io.BytesIO(jpeg)).size
    return width, height


def _finished(jpeg: bytes, size: tuple[int, int], text: str) -> bytes:
    """The picture at the size of the film, with black borders where it needs them, and `text` in it."""
    from PIL import Image, ImageDraw, ImageOps

    image = ImageOps.pad(Image.open(io.BytesIO(jpeg)).convert("RGB"), size)
    place = (_MARGIN, image.height - _MARGIN)
    ImageDraw.Draw(image).text(place, text, fill="white", anchor="lb", stroke_width=1, stroke_fill="black")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
