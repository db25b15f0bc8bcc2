"""One answer over HTTP/1.1, made of the bytes that are fed to it: header, content, and where it ends."""

from __future__ import annotations

from typing import Final

import httptools

from meteorpi_server.outbound.headers import length
from meteorpi_server.outbound.transport import MAX_FIELDS

MAX_HEAD_BYTES: Final = 1 << 18
"""Bytes until the header of an answer has to be over, answers that only announce it included."""

_SWITCHING: Final = 101
_FIRST_FINAL: Final = 200
_FIRST_BYTES: Final = (b"H", b"")


class Message:
    """An answer. Fed with what comes, in any pieces.

    Args:
        has_content: whether content follows the header; False for HEAD.

    Attributes:
        status: HTTP status, once it has begun.
        headers: fields by their names in lower case; of repeated ones the values joined by commas.
        is_begun: whether the header is there, announcements (1xx) left aside.
        is_done: whether all of it is there.
        has_bytes: whether anything came.
        failure: why nothing behind what has been taken can be read, or None.

    Source:
        RFC 9112 section 6.3 for where an answer ends.
    """

    def __init__(self, *, has_content: bool = True) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_begun = False
        self.is_done = False
        self.has_bytes = False
        self.failure: httptools.HttpParserError | None = None
        self._has_content = has_content
        self._has_surplus = False
        self._is_kept = False
        self._fields = 0
        self._content: list[bytes] = []
        self._is_refused = False
        self._parser = httptools.HttpResponseParser(self)
        # What the libraries in Python take, and servers send: line feeds alone, folded fields, such things.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_version=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none is the end of the connection.

        Raises:
            httptools.HttpParserError: the header is no HTTP.
            ValueError: it has too many fields, or is none that was asked for.
        """
        if not self.has_bytes and data[:1] not in _FIRST_BYTES:
            raise ValueError("no HTTP")
        self.has_bytes = self.has_bytes or bool(data)
        try:
            if data:
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_done = self._has_surplus = True
        except httptools.HttpParserError as error:
            if not self.is_begun:
                raise
            self.failure = error  # what came before it can be used: first of all the header
        if self._fields > MAX_FIELDS or self._is_refused:
            raise ValueError("too many fields, or another protocol")
        if self.is_begun and not self._has_content:
            self.is_done = True

    def taken(self) -> bytes:
        """The content that has come since it was taken last."""
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        self._content.clear()
        return content

    @property
    def is_whole_at_end(self) -> bool:
        """Whether the end of the connection is the end of the content, and not a break; then it is done."""
        if "transfer-encoding" not in self.headers and length(self.headers) is None:
            self.is_done = True
        return self.is_done

    @property
    def can_be_followed(self) -> bool:
        """Whether the connection is good for another request."""
        is_clean = not self._has_surplus and self.failure is None
        return self.is_done and is_clean and self._is_kept

    # --- called by the parser --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; behind the one that is awaited nothing may come."""
        if self.is_begun:
            self._has_surplus = True
        else:
            self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header, or behind the content, where it is passed over."""
        self._fields += 1
        if not self.is_begun:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The header is over."""
        status = self._parser.get_status_code()
        is_other = not self._parser.get_http_version().startswith("1.")
        self._is_refused = self._is_refused or is_other or status == _SWITCHING
        if not self.is_begun and status >= _FIRST_FINAL:
            self.status, self.is_begun = status, True
            self._is_kept = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A part of the content."""
        if self._has_content and not self._has_surplus:
            self._content.append(data)
        else:
            self._has_surplus = True

    def on_message_complete(self) -> None:
        """An answer ends."""
        self.is_done = self.is_done or self.is_begun
