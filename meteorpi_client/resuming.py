"""Bringing bytes of a node here: checked, taken up again after a cut, and never in part under their name.

The bytes go to a hidden ``.part`` file beside the goal. A download that has to be given up leaves it there,
and the next one goes on from it. It is claimed by renaming, so that two programs that fetch the same never
write into each other's. Whatever was put together in this way gets the final name only when it is right.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from meteorpi_client.transport import Transport
from meteorpi_model.errors import (
    InvalidDocumentError,
    MeteorError,
    PeerRefusedError,
    PeerUnavailableError,
    StoreFullError,
)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and the whole size where it is known, as they come."""

# A cut loses what the HTTP library holds back, up to this much: small enough for bad lines to get on.
CHUNK_BYTES = 1 << 15
_NAME_CHARACTERS = 100
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?P<size>\d+)")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to fetch.

    Attributes:
        path: on the node, beginning with a slash.
        fault: given the whole, what is wrong with it; None when it is right. What is wrong once is fetched
            again from the start.
        key: tells one content from another in the name of what is left over; None: nothing is left, since
            nothing could go on from it.
        etag: strong tag of the content, in quotes, where it is known beforehand.
    """

    path: str
    fault: Callable[[Path], MeteorError | None]
    key: str | None
    etag: str | None


def fetch_whole(transport: Transport, wanted: Wanted, goal: Path, progress: Progress | None = None) -> None:
    """Write what is `wanted` to `goal`, replacing what is there.

    Raises:
        MeteorError: what `wanted.fault` says, also of what was fetched again from the start.
        PeerUnavailableError: the connection failed again and again; the next call goes on from there.
        StoreFullError: no room for it.
        InvalidDocumentError: `goal` cannot be written.
    """
    if goal.is_dir():
        raise InvalidDocumentError(f"{goal} is a directory; name the file to write")
    try:
        _Download(transport, wanted, goal, progress).run()
    except OSError as error:
        raise _disk_error(error, goal) from error


class _Download:
    """One content on its way.

    Args:
        transport: leads to the node.
        wanted: what to fetch.
        goal: its final name.
        progress: told about every chunk.
    """

    def __init__(self, transport: Transport, wanted: Wanted, goal: Path, progress: Progress | None) -> None:
        self._transport = transport
        self._wanted = wanted
        self._goal = goal
        self._progress = progress
        stem = f".{goal.name[:_NAME_CHARACTERS]}"
        self._left_over = goal.with_name(f"{stem}.{wanted.key}.part") if wanted.key else None
        self._part = goal.with_name(f"{stem}.{wanted.key or 'new'}.part.{secrets.token_hex(4)}")
        self._etag = wanted.etag

    def run(self) -> None:
        """Fetch until it is whole and right, then give it its name."""
        keep = True
        self._claim_left_over()
        try:
            self._fetch()
            if self._wanted.fault(self._part):
                # Joined from two versions, perhaps, or damaged on the way: the whole again, once.
                os.truncate(self._part, 0)
                self._fetch()
                fault = self._wanted.fault(self._part)
                keep = fault is None
                if fault is not None:
                    raise fault
            self._part.replace(self._goal)
        finally:
            self._put_away(keep)

    def _claim_left_over(self) -> None:
        if self._left_over is not None:
            with suppress(FileNotFoundError):
                self._left_over.rename(self._part)
        self._part.touch()

    def _put_away(self, keep: bool) -> None:
        """Leave what was fetched to the next run; after success nothing is there any more."""
        if keep and self._left_over is not None and self._part.exists() and self._size():
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
        path = self._wanted.path
        with self._transport.open("GET", path, headers=headers, accept=frozenset({416})) as reply:
            first, size = _extent(reply)
            self._etag = strong_tag(reply)
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


def strong_tag(reply: requests.Response) -> str | None:
    """The entity tag of `reply` in its quotes; a weak one does not promise the same bytes, and is None."""
    tag = reply.headers.get("ETag", "")
    return tag if tag.startswith('"') else None


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
