"""Bringing the content of a file here: checked, taken up again after a cut, and never in part under its name.

The bytes go to a hidden ``.part`` file beside the goal. A download that has to be given up leaves it there,
and the next one goes on from it. It is claimed by renaming, so that two programs that fetch the same file
never write into each other's. Whatever was put together in this way gets the final name only when its MD5 is
right.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import requests

from meteorpi_client.addresses import content_url
from meteorpi_client.transport import Transport
from meteorpi_model.errors import (
    DigestMismatchError,
    InvalidDocumentError,
    MeteorError,
    PeerRefusedError,
    PeerUnavailableError,
    StoreFullError,
)
from meteorpi_model.records import FileRecord
from meteorpi_model.values import get_md5_hash

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and the whole size where it is known, as they come."""

# A cut loses what the HTTP library holds back, up to this much: small enough for bad lines to get on.
CHUNK_BYTES = 1 << 15
_NAME_CHARACTERS = 100
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?P<size>\d+)")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RemoteContent:
    """Where the records of one node find their content (a `ContentLocator`)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def path(self, record: FileRecord) -> Path | None:
        """None: the content is not a local file."""
        return None

    def url(self, record: FileRecord) -> str | None:
        """``<base>/files/content/<hex id>/<file_name>``; None when the record has no id or no size."""
        if record.file_id is None or record.file_size is None:
            return None
        return content_url(self._transport.base_url, record.file_id, record.file_name)

    def download(self, record: FileRecord, path: Path, progress: Progress | None = None) -> Path:
        """Write the content of `record` to `path`, replacing what is there, and return `path`.

        Raises:
            NotFoundError: the node does not hold the content.
            DigestMismatchError: it has another MD5 than the record, also when fetched again from the start.
            PeerUnavailableError: the connection failed again and again; the next call goes on from there.
            StoreFullError: no room for it.
            InvalidDocumentError: `path` cannot be written.
        """
        if path.is_dir():
            raise InvalidDocumentError(f"{path} is a directory; name the file to write")
        try:
            return _Download(self._transport, record, path, progress).run()
        except OSError as error:
            raise _disk_error(error, path) from error


class _Download:
    """One file on its way.

    Args:
        transport: leads to the node.
        record: what is wanted.
        goal: its final name.
        progress: told about every chunk.
    """

    def __init__(
        self, transport: Transport, record: FileRecord, goal: Path, progress: Progress | None
    ) -> None:
        if record.file_id is None:
            raise InvalidDocumentError("a record without file_id has no content")
        self._transport = transport
        self._record = record
        self._goal = goal
        self._progress = progress
        # The bare address: a name with a slash in it would not pass every proxy.
        self._path = content_url("", record.file_id, None)
        self._left_over = goal.with_name(f".{goal.name[:_NAME_CHARACTERS]}.{record.file_id.hex}.part")
        self._part = goal.with_name(f"{self._left_over.name}.{secrets.token_hex(4)}")
        # Where the tag of a node is the MD5, what an earlier run left can be gone on from.
        self._etag = f'"{record.md5}"' if record.md5 else None

    def run(self) -> Path:
        """Fetch until it is whole and right, then give it its name."""
        keep = True
        self._claim_left_over()
        try:
            self._fetch()
            if not self._is_right():
                # Joined from two versions, perhaps, or damaged on the way: the whole again, once.
                os.truncate(self._part, 0)
                self._fetch()
                keep = self._is_right()
                if not keep:
                    raise DigestMismatchError(
                        f"the node sent content without the MD5 of the record, {self._record.md5}",
                        entity_id=self._record.file_id,
                    )
            self._part.replace(self._goal)
        finally:
            self._put_away(keep)
        return self._goal

    def _claim_left_over(self) -> None:
        try:
            self._left_over.rename(self._part)
        except FileNotFoundError:
            self._part.touch()

    def _put_away(self, keep: bool) -> None:
        """Leave what was fetched to the next run; after success nothing is there any more."""
        if keep and self._part.exists() and self._size():
            self._part.replace(self._left_over)
        self._part.unlink(missing_ok=True)

    def _fetch(self) -> None:
        """Ask for what is missing until it is all there, as long as each time brings something."""
        idle = 0
        while True:
            before = self._size()
            if self._fetch_rest(before):
                return
            idle = 0 if self._size() > before else idle + 1
            if idle > self._transport.patience.retries:
                raise PeerUnavailableError(f"the download of {self._goal.name} was cut off again and again")
            self._transport.patience.pause(idle)

    def _fetch_rest(self, start: int) -> bool:
        """Ask for everything from `start` on; False when it was cut off on the way."""
        headers = {"Accept-Encoding": "identity"}
        if start and self._etag:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._etag}
        with self._transport.open("GET", self._path, headers=headers, accept=frozenset({416})) as reply:
            first, size = _extent(reply)
            tag = reply.headers.get("ETag", "")
            self._etag = tag if tag.startswith('"') else None  # a weak one does not promise the same bytes
            if reply.status_code == 416:
                return self._ends_at(start, size)
            if first not in (0, start):
                raise PeerRefusedError(
                    f"the node sent bytes from {first} on, not from {start}", url=reply.url
                )
            return self._copy(reply, first, size)

    def _ends_at(self, start: int, size: int | None) -> bool:
        """Whether nothing was missing; if there is more than the node has, start again."""
        if start != size:
            os.truncate(self._part, 0)
        return start == size

    def _copy(self, reply: requests.Response, first: int, size: int | None) -> bool:
        here = first
        with self._part.open("r+b") as part:
            part.truncate(first)
            part.seek(first)
            try:
                for chunk in reply.iter_content(CHUNK_BYTES):
                    part.write(chunk)
                    here += len(chunk)
                    if self._progress is not None:
                        self._progress(here, size)
            except requests.RequestException:
                return False
            part.flush()
            os.fsync(part.fileno())
        return size is None or here >= size

    def _size(self) -> int:
        return self._part.stat().st_size

    def _is_right(self) -> bool:
        if self._record.md5 is None:
            return self._size() == self._record.file_size
        return get_md5_hash(self._part) == self._record.md5.lower()


def _extent(reply: requests.Response) -> tuple[int, int | None]:
    """Where the body of `reply` begins in the content, and the size of the whole content if it is told."""
    if reply.status_code == 200:
        length = reply.headers.get("Content-Length", "")
        return 0, int(length) if length.isascii() and length.isdigit() else None
    told = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if reply.status_code == 416:
        return 0, int(told["size"]) if told else None
    if reply.status_code != 206 or told is None or told["first"] is None:
        raise PeerRefusedError(f"HTTP {reply.status_code} is no answer to a download", url=reply.url)
    return int(told["first"]), int(told["size"])


def _disk_error(error: OSError, path: Path) -> MeteorError:
    if error.errno in _FULL:
        return StoreFullError(f"no room for {path}", path=str(path))
    return InvalidDocumentError(f"{path} cannot be written: {error.strerror or error}", path=str(path))
