"""The headers of resumable uploads, read.

Source: tus 1.0.0; K-301 to K-303 of the storage contract.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from flask import Request

from meteorpi_db.blocks.gathering import ALGORITHMS, Checksum
from meteorpi_model.errors import InvalidDocumentError

VERSION: Final = "1.0.0"
EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
)
CONTENT_TYPE: Final = "application/offset+octet-stream"

_KEY: Final = re.compile(r"[!-+\--~]+")  # visible ASCII without comma and space
_MOST_METADATA: Final = 16 << 10
_MOST_DIGITS: Final = 18


def announcement(most_bytes: int) -> dict[str, str]:
    """What a client is told that asks for nothing in particular."""
    return {
        "Tus-Version": VERSION,
        "Tus-Max-Size": str(most_bytes),
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def read_number(request: Request, name: str) -> int | None:
    """The number in a header, None when it is not there.

    Raises:
        InvalidDocumentError: it is no number of bytes.
    """
    text = request.headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidDocumentError(f"{name} is no number of bytes")
    return int(text)


def read_length(request: Request) -> int | None:
    """The length of a new upload, None when the client does not know it yet.

    Raises:
        InvalidDocumentError: neither is said, or both, or something else.
    """
    length = read_number(request, "Upload-Length")
    deferred = request.headers.get("Upload-Defer-Length")
    if (length is None) == (deferred is None) or deferred not in (None, "1"):
        raise InvalidDocumentError("send either Upload-Length, or Upload-Defer-Length: 1")
    return length


def read_metadata(header: str) -> dict[str, str]:
    """What a client says of an upload, by key.

    Raises:
        InvalidDocumentError: it cannot be read.
    """
    if len(header) > _MOST_METADATA:
        raise InvalidDocumentError(f"Upload-Metadata has at most {_MOST_METADATA} characters")
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip(" \t") for each in header.split(","))):
        key, _, text = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise InvalidDocumentError("Upload-Metadata is a list of different keys with values in base64")
        found[key] = _text(key, text.strip(" \t"))
    return found


def read_checksum(request: Request) -> Checksum | None:
    """What the bytes of this request are said to have, None for nothing.

    Raises:
        InvalidDocumentError: it cannot be read, or the algorithm is unknown.
    """
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, text = header.partition(" ")
    return Checksum(algorithm=algorithm.lower(), digest=_bytes("Upload-Checksum", text.strip()))


def _text(key: str, text: str) -> str:
    try:
        value = _bytes(f"{key} of Upload-Metadata", text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(f"{key} of Upload-Metadata is no text") from error
    if "\0" in value:
        raise InvalidDocumentError(f"{key} of Upload-Metadata is no text")
    return value


def _bytes(what: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # what is not even ASCII is no binascii.Error
        raise InvalidDocumentError(f"{what} is not base64") from error
