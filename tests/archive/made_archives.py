"""Archives made by the standard library, right and wrong ones, for tests of those who read archives."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zlib
from zipfile import ZIP_STORED, ZipFile

from meteorpi_model.values import JsonObject

NAMES = ("cam/20160131/a.jpg", "cam/20160131/b.jpg", "cam/20160131/é.fits")


def contents(size: int = 60_000) -> dict[str, bytes]:
    """Three files of bytes that do not repeat."""
    noise = random.Random(4)
    return {name: noise.randbytes(size) for name in NAMES}


def manifest_of(files: dict[str, bytes], **more: object) -> JsonObject:
    entries = [
        {
            "name": name,
            "size": len(data),
            "crc32": zlib.crc32(data),
            "md5": hashlib.md5(data).hexdigest(),
        }
        for name, data in files.items()
    ]
    head = {"format": "meteorpi-archive-manifest", "version": 1}
    return head | {"entries": entries, "skipped": []} | more


def archive_of(
    files: dict[str, bytes], manifest: JsonObject | None = None, compression: int = ZIP_STORED
) -> bytes:
    """A zip with `files`, the manifest first where there is one."""
    written = io.BytesIO()
    with ZipFile(written, "w", compression) as archive:
        if manifest is not None:
            archive.writestr("MANIFEST.json", json.dumps(manifest))
        for name, data in files.items():
            archive.writestr(name, data)
    return written.getvalue()
