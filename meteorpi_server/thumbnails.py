"""Small copies of pictures: made once, kept in a directory of bounded size, decoded in bounded memory.

Whatever is wrong with a picture, the answer is that it has no thumbnail; nothing of the decoder gets out.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from werkzeug.exceptions import NotImplemented as NotImplementedHere

from meteorpi_db.filestore.base import FileStore
from meteorpi_model.errors import NotFoundError

if TYPE_CHECKING:
    from PIL import Image

WIDTHS: Final = (110, 220, 440, 880, 1760)
"""Widths in pixels that thumbnails are made in; few, so that nobody can fill the disk by asking for each."""

DEFAULT_WIDTH: Final = 220
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "FITS")
"""Decoders that are let at the files of strangers."""

_DECODING_AT_ONCE: Final = 2
_WRITES_BETWEEN_SWEEPS: Final = 64
_JPEG_QUALITY: Final = 82
_FITS_BLOCK_BYTES: Final = 2880
# What Pillow's decoders are known to raise on damaged files; warnings, where they are made errors.
_DECODER_ERRORS: Final = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, EOFError, struct.error,
    zlib.error, UserWarning,
)  # fmt: skip


def round_width(width: int) -> int:
    """The smallest of `WIDTHS` that is not less than `width`, or the largest of all."""
    return next((each for each in WIDTHS if each >= width), WIDTHS[-1])


class Shelf:
    """Thumbnails of the pictures in one file store.

    Args:
        store: where the pictures are.
        directory: where thumbnails are kept; None keeps none.
        room_bytes: most bytes that they may take; 0 keeps none.
        max_pixels: pictures with more pixels have no thumbnail.
    """

    def __init__(self, store: FileStore, directory: Path | None, room_bytes: int, max_pixels: int) -> None:
        self._store = store
        self._directory = directory if room_bytes else None
        self._room_bytes = room_bytes
        self._max_pixels = max_pixels
        self._decoding = threading.BoundedSemaphore(_DECODING_AT_ONCE)
        self._writes = 0

    def thumbnail(self, file_id: UUID, md5: str, width: int) -> bytes:
        """A JPEG of the picture, `width` pixels wide or as wide as the picture is.

        Raises:
            NotFoundError: there is no content, or it is no picture that can be read.
            NotImplemented: Pillow is not installed (501).
        """
        kept = None if self._directory is None else self._directory / f"{file_id.hex}-{md5}-{width}.jpg"
        if kept is not None:
            with suppress(FileNotFoundError):
                return kept.read_bytes()
        with self._decoding, self._store.local_path(file_id) as path:
            made = _make(path, width, self._max_pixels, file_id)
        if kept is not None:
            self._keep(kept, made)
        return made

    def _keep(self, path: Path, content: bytes) -> None:
        """Write `path` whole or not at all; a full disk costs the next caller some time and nothing else."""
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                Path(temporary).replace(path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._writes += 1
            if self._writes % _WRITES_BETWEEN_SWEEPS == 1:
                self.sweep()

    def sweep(self) -> None:
        """Remove the oldest thumbnails until a tenth of the room is free."""
        if self._directory is None:
            return
        with os.scandir(self._directory) as entries:
            kept = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries)
        surplus = sum(size for _, size, _ in kept) - self._room_bytes * 9 // 10
        if surplus + self._room_bytes // 10 <= 0:
            return
        for _, size, path in kept:
            if surplus <= 0:
                break
            Path(path).unlink(missing_ok=True)
            surplus -= size


def default_directory(file_store_path: str) -> Path | None:
    """Beside a file store on local disk; None for any other."""
    if not file_store_path or ":" in file_store_path:
        return None
    path = Path(file_store_path)
    return path.with_name(f"{path.name}-thumbnails")


def _make(path: Path, width: int, max_pixels: int, file_id: UUID) -> bytes:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise NotImplementedHere("thumbnails need pip install 'meteorpi[images]'") from error
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise NotFoundError(f"the picture has more than {max_pixels} pixels", entity_id=file_id)
            if image.format == "FITS" and image.tile[0][0] != "raw":
                # Pillow would decompress the whole of it into memory, however much that is.
                raise NotFoundError("the picture is a compressed FITS file", entity_id=file_id)
            image.draft("RGB", (width, image.height))  # lets the JPEG decoder skip most of the work
            upright = ImageOps.exif_transpose(_eight_bits(image))
            if image.format == "FITS" and _is_of_rms(path):
                upright = ImageOps.flip(upright)
            upright.thumbnail((width, upright.height))
            return _as_jpeg(upright)
    except (*_DECODER_ERRORS, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotFoundError("the file is no picture that can be read", entity_id=file_id) from error


def _is_of_rms(path: Path) -> bool:
    """Whether a FITS file is of an RMS station: they put the top row first, the standard the bottom one."""
    with path.open("rb") as stream:
        header = stream.read(_FITS_BLOCK_BYTES)
    return b"NFRAMES =" in header and b"CAMNO   =" in header


def _eight_bits(image: Image.Image) -> Image.Image:
    """`image` with 8 bits a channel; cameras write 16, which would come out white."""
    if not image.mode.startswith(("I", "F")):
        return image
    if image.mode.startswith("I;"):
        image = image.convert("I")  # whose conversion to 8 bits cuts off, where that of I;16 divides by 256
    low, high = image.getextrema()
    scale = 255.0 / max(1.0, float(high) - float(low))  # type: ignore[arg-type]  # one channel: two numbers
    return image.point(lambda value: value * scale - float(low) * scale).convert("L")  # type: ignore[arg-type]


def _as_jpeg(image: Image.Image) -> bytes:
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = _on_black(image)
    elif image.mode not in {"L", "RGB"}:
        image = image.convert("RGB")
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()


def _on_black(image: Image.Image) -> Image.Image:
    """Transparent parts become black, as the sky is."""
    from PIL import Image as PillowImage

    ground = PillowImage.new("RGB", image.size)
    ground.paste(image, mask=image.getchannel("A"))
    return ground
