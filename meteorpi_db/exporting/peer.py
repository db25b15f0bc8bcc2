"""One peer as the exporter sees it: an HTTP session to its import route, and what it answers.

Nothing here knows about tasks or the database. Requests are those of the export protocol; every one may be
repeated without harm, so a connection that the peer closed while it was idle is opened again and the request
sent once more.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Final, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import requests

from meteorpi_model.errors import (
    CorruptContentError,
    InvalidDocumentError,
    PeerError,
    PeerRefusedError,
    PeerUnavailableError,
)
from meteorpi_model.values import JsonObject, parse_hex_id

PIECE_BYTES: Final = 1 << 16
"""Bytes handed to the socket at once; small, because a socket's timeout covers one whole piece."""

MAX_REPLY_BYTES: Final = 1 << 20
CONCURRENCY_HEADER: Final = "MeteorPi-Import-Concurrency"
"""Header in which an import route says how many entities one sender may push at the same time."""

_MESSAGE_LENGTH: Final = 500
_MOST_AT_ONCE: Final = 100
_LATER: Final = frozenset({408, 425, 429})  # beside every 5xx: says "later", not "no"
_USER_AGENT: Final = "meteorpi-exporter"
_DEFAULT_MIME_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True)
class Timeouts:
    """How long a peer may keep the exporter waiting, in seconds.

    Attributes:
        connect: to take a connection, and to take in one piece of an upload.
        read: to send the next bytes of its answer.
        reply: to send the whole answer once it began.
    """

    connect: float = 10.0
    read: float = 60.0
    reply: float = 120.0


@dataclass(frozen=True)
class Reply:
    """What a peer answered.

    Attributes:
        state: a state of the protocol, empty when the answer is not understood.
        status_id, file_id: what it asks for.
        message: for people.
        concurrency: how many entities it is willing to take at the same time; nodes of the first generation
            say nothing of it, and are not safe with more than one.
    """

    state: str
    status_id: UUID | None = None
    file_id: UUID | None = None
    message: str | None = None
    concurrency: int = 1


@dataclass(frozen=True)
class Content:
    """The bytes of one file, ready to be sent as often as needed.

    Attributes:
        file_id, md5, mime_type: as in its record.
        size_bytes: exact length of what `open` gives.
        open: gives the bytes from the start, anew with each call; left as soon as sending ends.
    """

    file_id: UUID
    md5: str
    mime_type: str
    size_bytes: int
    open: Callable[[], AbstractContextManager[Iterable[bytes]]]


class MultipartUpload:
    """The body of an upload, ``multipart/form-data`` with the one part ``file``, never held in memory.

    Args:
        content: what to send.
        check: called before every piece; whatever it raises ends the upload.
    """

    def __init__(self, content: Content, check: Callable[[], None]) -> None:
        self._content = content
        self._check = check
        boundary = uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="file"\r\n'
            f"Content-Type: {_header_safe(content.mime_type)}\r\n\r\n"
        ).encode("ascii")
        self._tail = f"\r\n--{boundary}--\r\n".encode("ascii")

    def __len__(self) -> int:
        return len(self._head) + self._content.size_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._head
        left = self._content.size_bytes
        with self._content.open() as chunks:
            for chunk in chunks:
                left -= len(chunk)
                if left < 0:
                    break
                yield from self._pieces(chunk)
        if left:
            raise CorruptContentError(
                f"the file store does not hold the recorded {self._content.size_bytes} bytes of this file",
                entity_id=self._content.file_id,
            )
        yield self._tail

    def _pieces(self, chunk: bytes) -> Iterator[bytes | memoryview]:
        view = memoryview(chunk)
        for start in range(0, len(chunk), PIECE_BYTES):
            self._check()
            yield view[start : start + PIECE_BYTES]


class Peer:
    """A keep-alive session with one import route, for one account; used by one thread at a time.

    Args:
        target_url: complete URL of the import route.
        user_id, password: account on the peer.
        ca_file: PEM file with the certificates to trust instead of the usual ones, or None.
        timeouts: how long to wait.

    Raises:
        PeerRefusedError: `target_url` is not an http or https URL with a host.
    """

    def __init__(
        self,
        target_url: str,
        user_id: str,
        password: str,
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        _require_http(target_url)
        self._target_url = target_url.rstrip("/")
        self._timeouts = timeouts or Timeouts()
        self._verify: str | bool = ca_file or True
        self._session = requests.Session()
        self._session.auth = _Account(user_id, password)
        self._session.headers["User-Agent"] = _USER_AGENT
        self._has_answered = False

    def close(self) -> None:
        """Close the connections; the object may be used again and then opens new ones."""
        self._session.close()

    def send_document(self, document: JsonObject) -> Reply:
        """Send one of the four kinds of JSON request and give the answer.

        Raises:
            PeerUnavailableError: no answer, or a status that says "later".
            PeerRefusedError: any other status from 400 on, or a certificate that is not trusted.
        """
        body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        return self._post(self._target_url, body, "application/json")

    def send_content(self, content: Content, check: Callable[[], None]) -> Reply:
        """Upload the bytes of a file and give the answer; `check` may end it by raising.

        Raises:
            PeerUnavailableError, PeerRefusedError: as for :meth:`send_document`.
            CorruptContentError: the bytes held here are not as many as recorded; the upload is cut off.
        """
        upload = MultipartUpload(content, check)
        url = f"{self._target_url}/data/{content.file_id.hex}/{content.md5}"
        return self._post(url, upload, upload.content_type)

    def probe(self) -> None:
        """Find out whether the import route answers this account, without sending any data.

        The document has a type that no receiver knows, old or new, so its answer is "failed": as good a
        sign of life as any other state.

        Raises:
            PeerUnavailableError, PeerRefusedError: as for :meth:`send_document`.
        """
        reply = self.send_document({"type": "probe"})
        if not reply.state:
            raise PeerRefusedError(reply.message or "the answer is not understood")

    def _post(self, url: str, body: bytes | MultipartUpload, content_type: str) -> Reply:
        was_used, self._has_answered = self._has_answered, False
        try:
            return self._post_once(url, body, content_type)
        except PeerUnavailableError as error:
            # Most often the peer had closed the connection while it was idle.
            if not (was_used and isinstance(error.__cause__, requests.ConnectionError)):
                raise
            return self._post_once(url, body, content_type)

    def _post_once(self, url: str, body: bytes | MultipartUpload, content_type: str) -> Reply:
        try:
            response = self._session.post(
                url,
                data=cast("Iterable[bytes]", body),
                headers={"Content-Type": content_type, "Accept": "application/json"},
                timeout=(self._timeouts.connect, self._timeouts.read),
                verify=self._verify,
                allow_redirects=False,  # the account is meant for this address only
                stream=True,
            )
            with response:
                text = self._read_body(response)
        except requests.exceptions.SSLError as error:
            raise PeerRefusedError(f"TLS with the peer failed: {error}") from error
        except requests.Timeout as error:
            raise PeerUnavailableError(f"the peer did not answer in time: {error}") from error
        except requests.RequestException as error:
            raise PeerUnavailableError(f"the peer cannot be reached: {error}") from error
        except (OSError, ValueError) as error:  # an unreadable CA file; a URL that urllib3 cannot take
            raise PeerRefusedError(f"the request cannot be made: {error}") from error
        self._has_answered = True
        reply = _checked_reply(response.status_code, text)
        return replace(reply, concurrency=_count(response.headers.get(CONCURRENCY_HEADER, "")))

    def _read_body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self._timeouts.reply
        body = bytearray()
        for chunk in response.iter_content(PIECE_BYTES):
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                raise PeerRefusedError(f"the answer of the peer is longer than {MAX_REPLY_BYTES} bytes")
            if time.monotonic() > deadline:
                raise PeerUnavailableError("the peer did not finish its answer in time")
        return bytes(body)


class _Account(requests.auth.AuthBase):
    """Basic credentials in UTF-8; those of requests itself must fit into Latin-1."""

    def __init__(self, user_id: str, password: str) -> None:
        self._header = "Basic " + base64.b64encode(f"{user_id}:{password}".encode()).decode("ascii")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def read_reply(text: bytes) -> Reply:
    """Read an answer with status 200; one that is not understood has an empty state and a message."""
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or not isinstance(document.get("state"), str):
            return Reply("", message=f"the answer is not a document with a state: {_excerpt(text)}")
        return Reply(
            state=document["state"],
            status_id=_optional_id(document, "status_id"),
            file_id=_optional_id(document, "file_id"),
            message=None if document.get("message") is None else str(document["message"])[:_MESSAGE_LENGTH],
        )
    except (InvalidDocumentError, RecursionError, ValueError) as error:
        return Reply("", message=f"the answer cannot be read ({error}): {_excerpt(text)}")


def _checked_reply(status: int, text: bytes) -> Reply:
    """The answer, or the error that its HTTP status means."""
    if status == requests.codes.ok:
        return read_reply(text)
    if status < requests.codes.bad_request:
        return Reply("", message=f"the peer answered with HTTP status {status}")
    kind: type[PeerError] = PeerUnavailableError if status >= 500 or status in _LATER else PeerRefusedError
    raise kind(f"the peer answered with HTTP status {status}: {_problem_message(text)}", status=status)


def _problem_message(text: bytes) -> str:
    """What an error document says, or the beginning of whatever came instead."""
    try:
        document = json.loads(text)
    except (RecursionError, ValueError):
        return _excerpt(text)
    if isinstance(document, dict) and isinstance(document.get("message"), str):
        return str(document["message"])[:_MESSAGE_LENGTH]
    return _excerpt(text)


def _excerpt(text: bytes) -> str:
    return repr(text[:100].decode("utf-8", "replace"))


def _optional_id(document: JsonObject, key: str) -> UUID | None:
    value = document.get(key)
    return None if value is None else parse_hex_id(value, key)


def _count(text: str) -> int:
    """A small number in a header; 1 for anything else."""
    return min(int(text), _MOST_AT_ONCE) if text.isascii() and text.isdigit() and text != "0" else 1


def _require_http(target_url: str) -> None:
    try:
        parts = urlsplit(target_url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise PeerRefusedError(f"the target URL cannot be read: {error}") from error
    if parts.scheme not in {"http", "https"} or not has_host:
        raise PeerRefusedError("the target URL must begin with http:// or https:// and a host")


def _header_safe(mime_type: str) -> str:
    """`mime_type` if it can stand in a header as it is; records may hold any text."""
    is_safe = mime_type.isascii() and mime_type.isprintable() and mime_type.strip() != ""
    return mime_type if is_safe else _DEFAULT_MIME_TYPE


class PeerPool:
    """Sessions that are lent to one thread at a time and kept alive in between.

    Args:
        timeouts: of every peer.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._mutex = threading.Lock()
        self._idle: dict[tuple[str, str, str, str | None], list[Peer]] = {}
        self._is_closed = False

    @contextmanager
    def lent(self, target_url: str, user_id: str, password: str, ca_file: str | None) -> Iterator[Peer]:
        """A session for that account inside the block; raises as :class:`Peer` does."""
        key = (target_url, user_id, password, ca_file)
        with self._mutex:
            idle = self._idle.get(key)
            peer = idle.pop() if idle else None
        if peer is None:
            peer = Peer(target_url, user_id, password, ca_file=ca_file, timeouts=self._timeouts)
        try:
            yield peer
        finally:
            with self._mutex:
                if self._is_closed:
                    peer.close()
                else:
                    self._idle.setdefault(key, []).append(peer)

    def close(self) -> None:
        """Close every session, those that are lent as soon as they come back."""
        with self._mutex:
            self._is_closed = True
            for peers in self._idle.values():
                for peer in peers:
                    peer.close()
            self._idle.clear()
