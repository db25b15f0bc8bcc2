"""The answer of a source as a caller sees it: checked, decoded, counted, and ended in time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Self

from meteorpi_server.outbound.decoding import Decoder
from meteorpi_server.outbound.failures import OutboundError, Reason
from meteorpi_server.outbound.headers import content_range, length, modified, strong_validator
from meteorpi_server.outbound.locations import Location
from meteorpi_server.outbound.transport import Reply


class Answer:
    """An answer with status 200 or 206, and its content. Iterate once; close it in any case.

    Args:
        reply: the answer as it came.
        location: where it came from, after redirects.
        deadline: when the content has to be complete, on the clock of :func:`time.monotonic`.

    Attributes:
        location: where it came from, after redirects.
        status: 200 or 206.
        headers: fields by their names in lower case.
        start: position, in the whole content, of the first byte.
        size: bytes of the whole content; None when not known, as of a coded one.
        validator: strong entity tag of the content, or None.
        modified: last change in seconds since 1970, or None.
        is_coded: whether a content coding is being taken off.

    Raises:
        OutboundError: part of an unknown whole came, or a coding that cannot be taken off.
    """

    def __init__(self, reply: Reply, location: Location, deadline: float) -> None:
        self._reply = reply
        self._deadline = deadline
        self.location = location
        self.status = reply.status
        self.headers: Mapping[str, str] = reply.headers
        coding = reply.headers.get("content-encoding", "").strip().lower()
        self.is_coded = coding not in ("", "identity")
        self._decoder = Decoder(coding) if self.is_coded else None
        framing = reply.headers.get("transfer-encoding")
        has_two = framing is not None and "content-length" in reply.headers  # RFC 9112 section 6.3
        if has_two or (framing or "chunked").strip().lower() != "chunked":
            raise OutboundError(f"{location} frames its content in an unknown way", reason=Reason.CODING)
        self.start, self.size = self._extent()
        self.validator = strong_validator(reply.headers)
        self.modified = modified(reply.headers)

    def _extent(self) -> tuple[int, int | None]:
        if self.status != 206:
            return 0, None if self.is_coded else length(self.headers)
        part = content_range(self.headers)
        announced = length(self.headers)
        if part is None or self.is_coded or announced not in (None, part.stop - part.start):
            raise OutboundError(f"{self.location} sends a part that does not fit", reason=Reason.CHANGED)
        return part.start, part.total

    def __iter__(self) -> Iterator[bytes]:
        """Give the content in chunks that are not empty.

        Raises:
            OutboundError: fewer bytes came than announced, none for too long, not all in time, or a coding
                cannot be taken off.
        """
        while chunk := self._read():
            if self._decoder is None:
                yield chunk
            else:
                yield from self._decoder.decode(chunk)
        if self._decoder is not None:
            self._decoder.finish()

    def _read(self) -> bytes:
        if time.monotonic() > self._deadline:
            raise OutboundError(f"{self.location} takes too long", reason=Reason.TIMEOUT)
        return self._reply.read()

    def interrupt(self) -> None:
        """Make a read that waits in another thread fail at once; `close` is still needed."""
        self._reply.interrupt()

    def close(self) -> None:
        """Free the connection; harmless when repeated."""
        self._reply.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
