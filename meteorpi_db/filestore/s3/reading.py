"""A content on its way out of an S3 store.

The connection is asked again from the byte where it broke, as often as it takes while it gives anything new:
contents never change, and the tag of the service makes sure of it.
"""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from meteorpi_db.filestore.base import ContentReader
from meteorpi_db.filestore.s3.answers import ObjectBody
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.filestore.s3.failures import BROKEN, from_broken
from meteorpi_model.errors import NotFoundError, UnavailableError

_MOST_ATTEMPTS = 4
"""How often the same bytes are asked for."""


def open_object(bucket: Bucket, key: str, start: int, stop: int | None) -> ContentReader:
    """The bytes of an object from `start` up to, not including, `stop`, as far as it has any.

    Raises:
        NotFoundError: there is no such object.
    """
    if start == stop:
        if bucket.head(key) is None:
            raise NotFoundError("no content is held under this id")
        return ContentReader(io.BytesIO(), 0)
    found = bucket.get(key, start, stop)
    if found is None:
        return ContentReader(io.BytesIO(), 0)
    end = found.size if stop is None else min(stop, found.size)
    stream = _ObjectStream(bucket, key, found, start, end)
    return ContentReader(cast("BinaryIO", stream), max(end - start, 0))


class _ObjectStream:
    """As much of a binary stream as a reader of contents needs.

    Args:
        found: what the service gave first.
        start, end: the bytes wanted.
    """

    def __init__(self, bucket: Bucket, key: str, found: ObjectBody, start: int, end: int) -> None:
        self._bucket = bucket
        self._key = key
        self._tag = found.tag
        self._position = start
        self._end = end
        self._body = found.body
        self._to_skip = start - found.start

    def read(self, most: int) -> bytes:
        """The next 1 to `most` bytes.

        Raises:
            UnavailableError: the connection broke, and asking again did not help.
        """
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                data = self._read_some(most)
            except (*BROKEN, EOFError) as error:
                if attempt == _MOST_ATTEMPTS:
                    raise from_broken(error, "read content") from error
                self._ask_again()
            else:
                self._position += len(data)
                return data
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give the connection up; what was not read of it cannot be used again."""
        self._body.close()

    def _ask_again(self) -> None:
        self._body.close()
        try:
            found = self._bucket.get(self._key, self._position, self._end, self._tag)
        except NotFoundError as error:
            raise UnavailableError("the content was removed while it was read") from error
        if found is None:
            raise UnavailableError("the content became shorter while it was read")
        self._body = found.body
        self._to_skip = self._position - found.start

    def _read_some(self, most: int) -> bytes:
        """Pass over what comes before the bytes asked for, where a service gives the whole object."""
        while self._to_skip > 0:
            skipped = len(self._body.read(min(self._to_skip, 1 << 20)))
            if not skipped:
                raise EOFError("the answer ended before the bytes that were asked for")
            self._to_skip -= skipped
        data = self._body.read(most)
        if not data:
            raise EOFError(f"the answer ended at byte {self._position} of {self._end}")
        return data
