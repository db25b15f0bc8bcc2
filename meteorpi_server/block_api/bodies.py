"""The body of an upload: how long it is said to be, what digests are said of it, and whether it came whole.

Source: K-120, K-121, K-124, K-125 and K-128 of the storage contract; RFC 9530; RFC 1864.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from flask import Request
from werkzeug.exceptions import ClientDisconnected, LengthRequired

from meteorpi_model.errors import (
    DigestMismatchError,
    IncompleteBodyError,
    InvalidDocumentError,
    TooLargeError,
)
from meteorpi_server.block_api.current import current_service
from meteorpi_server.block_api.receiving import Incoming
from meteorpi_server.block_api.request_notes import note_received
from meteorpi_server.block_api.silence import ending_silence

_READ_BYTES: Final = 1 << 18
_SHA512: Final = "sha512"
_MEMBER: Final = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*")
_NAMES: Final = {"sha-256": "sha256", "sha-512": _SHA512, "md5": "md5"}
_MOST_DIGITS: Final = 18


def incoming_object(request: Request, most_bytes: int) -> Incoming:
    """The body of the current request, which is all of an object; raises as :func:`incoming_body`.

    A SHA-512 is compared here: stores do not know it, and only who announces one waits for it.
    """
    incoming = incoming_body(request, most_bytes)
    expected = incoming.digests.get(_SHA512)
    if expected is None:
        return incoming
    others = {name: digest for name, digest in incoming.digests.items() if name != _SHA512}
    return Incoming(chunks=_compared(incoming.chunks, str(expected)), size=incoming.size, digests=others)


def incoming_body(request: Request, most_bytes: int, read_bytes: int = _READ_BYTES) -> Incoming:
    """The body of the current request.

    Args:
        most_bytes: inclusive limit.
        read_bytes: how much is asked for at once; of what was asked for when a connection breaks, some web
            servers give nothing.

    Raises:
        TooLargeError: it is announced to be longer.
        InvalidDocumentError: length or digests cannot be read, or there are two ways to tell the length.
        LengthRequired: the web server cannot tell where a body without a length ends.
    """
    request.max_content_length = most_bytes + 1  # the limit is inclusive, the framework's is not for chunks
    is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if is_chunked and request.headers.get("Content-Length"):  # servers may say nothing by an empty one
        raise InvalidDocumentError("a body in chunks has no Content-Length")
    size = None if is_chunked else _announced_size(request)
    if is_chunked and not request.environ.get("wsgi.input_terminated"):
        raise LengthRequired("this web server hands bodies on only with a Content-Length")
    if size is not None and size > most_bytes:
        raise TooLargeError(f"an object is at most {most_bytes} bytes", limit=most_bytes)
    return Incoming(
        chunks=_chunks(request, most_bytes, read_bytes), size=size, digests=_announced_digests(request)
    )


def _announced_size(request: Request) -> int:
    text = request.headers.get("Content-Length", "").strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidDocumentError("Content-Length is not a number")
    return int(text)


def _chunks(request: Request, most_bytes: int, read_bytes: int) -> Iterator[bytes]:
    received, patience = 0, current_service().settings.block_upload_stall_timeout
    try:
        with ending_silence(request.environ, patience):
            while chunk := request.stream.read(read_bytes):
                received += len(chunk)
                if received > most_bytes:
                    raise TooLargeError(f"an object is at most {most_bytes} bytes", limit=most_bytes)
                yield chunk
    except (ClientDisconnected, OSError) as error:
        raise IncompleteBodyError("the upload was cut off", received=received) from error
    finally:
        note_received(received)


def _compared(chunks: Iterable[bytes], expected: str) -> Iterator[bytes]:
    """The same chunks; raises at their end when their SHA-512 is another one."""
    digest = hashlib.sha512()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != expected:
        raise DigestMismatchError("the bytes do not have the SHA-512 that was announced")


def _announced_digests(request: Request) -> dict[str, str | int]:
    """Digests by name, in whichever header they are; algorithms that we do not know say nothing to us."""
    found: dict[str, str | int] = {}
    for header in ("Repr-Digest", "Content-Digest"):
        for name, text in _members(request.headers.get(header, "")):
            if name in _NAMES:
                _note(found, _NAMES[name], _hex(text, header))
    if "Content-MD5" in request.headers:
        _note(found, "md5", _hex(request.headers["Content-MD5"].strip(), "Content-MD5"))
    if "X-Content-SHA256" in request.headers:
        _note(found, "sha256", request.headers["X-Content-SHA256"].strip().lower())
    return found


def _members(header: str) -> Iterator[tuple[str, str]]:
    for member in filter(None, (each.strip() for each in header.split(","))):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise InvalidDocumentError("a digest is written as sha-256=:<base64>:")
        yield match[1], match[2]


def _hex(text: str, header: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError as error:  # what is not even ASCII is no binascii.Error
        raise InvalidDocumentError(f"{header} is not base64") from error


def _note(found: dict[str, str | int], name: str, digest: str) -> None:
    if found.setdefault(name, digest) != digest:
        raise InvalidDocumentError(f"two headers announce different {name} digests")
