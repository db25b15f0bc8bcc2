"""The body of an upload, read as a stream straight to where the content goes.

An upload counts as whole only when as many bytes came as were announced and the part was closed by its
boundary: some servers hand a request on although its sender was cut off.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from flask import Request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.sansio import multipart

from meteorpi_model.errors import IncompleteBodyError, InvalidDocumentError

_FORM_TYPE: Final = "multipart/form-data"
_READ_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 4 * _READ_BYTES  # more than one read can leave waiting, unless headers never end
_MOST_PARTS: Final = 16
_LONGEST_BOUNDARY: Final = 70  # RFC 2046 section 5.1.1


class IncomingFile:
    """A file that is being uploaded; its bytes can be taken once, by iterating or with :meth:`save`.

    Attributes:
        filename: what the sender called it; never use it as a path.
        content_type: MIME type that the sender gave, or None.
    """

    def __init__(self, parts: _Parts, file: multipart.File) -> None:
        self._parts = parts
        self._chunks = parts.content()
        self.filename = file.filename
        self.content_type: str | None = file.headers.get("Content-Type")

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def save(self, dst: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the content to a path or an open binary file; a path exists only if all of it came.

        Raises:
            IncompleteBodyError: the upload was cut off.
        """
        if not isinstance(dst, str | os.PathLike):
            dst.writelines(self._chunks)
            return
        path = Path(dst)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".upload-", delete=False) as temporary:
            try:
                temporary.writelines(self._chunks)
                temporary.close()
                Path(temporary.name).replace(path)
            except BaseException:
                Path(temporary.name).unlink(missing_ok=True)
                raise

    def finish(self) -> None:
        """Read what is left of the request, so that the connection can be used again.

        Raises:
            IncompleteBodyError: the upload was cut off.
        """
        for _ in self._chunks:
            pass
        self._parts.finish()


def incoming_file(request: Request, name: str) -> IncomingFile:
    """The part `name` of the multipart body of `request`, with its content still to come.

    Raises:
        InvalidDocumentError: the body is not a form with such a file.
        IncompleteBodyError: it was cut off before that part.
        RequestEntityTooLarge: the body, or something in it, is longer than allowed.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != _FORM_TYPE or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise InvalidDocumentError(f"an upload must be {_FORM_TYPE} with a boundary")
    try:
        delimiter = boundary.encode("ascii")
    except UnicodeEncodeError as error:
        raise InvalidDocumentError("the boundary must be ASCII") from error
    return _Parts(request.stream, delimiter).file(name)


class _Parts:
    """The events of a multipart body, as its bytes come."""

    def __init__(self, stream: IO[bytes], boundary: bytes) -> None:
        self._stream = stream
        self._decoder = multipart.MultipartDecoder(
            boundary, max_form_memory_size=_BUFFER_BYTES, max_parts=_MOST_PARTS
        )

    def file(self, name: str) -> IncomingFile:
        while not isinstance(event := self._next(), multipart.Epilogue):
            if isinstance(event, multipart.File) and event.name == name:
                return IncomingFile(self, event)
        raise InvalidDocumentError(f"the form has no file {name!r}")

    def content(self) -> Iterator[bytes]:
        """The content of the part that has just begun."""
        more = True
        while more:
            event = self._next()
            if not isinstance(event, multipart.Data):
                raise InvalidDocumentError("the form is malformed")
            more = event.more_data
            if event.data:
                yield event.data

    def finish(self) -> None:
        while not isinstance(self._next(), multipart.Epilogue):
            pass

    def _next(self) -> multipart.Event:
        try:
            while isinstance(event := self._decoder.next_event(), multipart.NeedData):
                self._decoder.receive_data(self._stream.read(_READ_BYTES) or None)
        except ClientDisconnected as error:
            raise IncompleteBodyError("the upload was cut off") from error
        except ValueError as error:
            if self._decoder.complete:
                raise IncompleteBodyError("the upload ends before its closing boundary") from error
            raise InvalidDocumentError(f"the form is malformed: {error}") from error
        return event
