"""Many files as one archive: make a ticket, wait until it is its turn, fetch it whole."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from meteorpi_client.addresses import checked_base_url, search_segment
from meteorpi_client.archive_check import check_archive
from meteorpi_client.archive_report import ArchiveReport
from meteorpi_client.resuming import Progress, Wanted, fetch_whole, strong_tag
from meteorpi_client.transport import Transport, json_object, understood
from meteorpi_model.documents import (
    as_count,
    as_flag,
    as_id,
    as_list,
    as_text,
    read,
    read_optional,
    require_object,
)
from meteorpi_model.errors import (
    ConflictError,
    CorruptContentError,
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    UnavailableError,
)
from meteorpi_model.search import FileRecordSearch
from meteorpi_model.values import JsonObject

ZIP_TYPE: Final = "application/zip"
WAIT_SECONDS: Final = 3600.0
"""How long `ArchiveClient.wait` waits unless told otherwise."""

_LONGEST_POLL_SECONDS = 30
_TURNS = 5  # a slot that was given and lapsed is waited for again so often
_TICKET_PATH = re.compile(r"(?P<ticket>.*/ticket/[0-9a-fA-F-]{32,36})(?P<rest>/download(?:/[^/]*)?)?/?")


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A frozen selection that anybody who knows its id may fetch.

    Attributes:
        ticket_id: the capability; treat it as a secret.
        href: address of the archive.
        entries: of the archive.
        size_bytes: of the archive; None while it cannot be told.
        is_resumable: whether an interrupted download can go on.
        is_available: whether it can be fetched at once; otherwise `ArchiveClient.wait`.
        skipped: what was left out: position of the item and reason.
    """

    ticket_id: UUID
    href: str
    entries: int
    size_bytes: int | None
    is_resumable: bool
    is_available: bool
    skipped: list[tuple[int, str]]

    @staticmethod
    def from_dict(d: object) -> Ticket:
        """Read the answer of ``POST /ticket/generate``."""
        document = require_object(d, "a ticket")

        def skip(value: object) -> tuple[int, str]:
            row = require_object(value, "something skipped")
            return read(row, "index", as_count), read(row, "reason", as_text)

        return Ticket(
            ticket_id=read(document, "id", as_id),
            href=read(document, "href", as_text),
            entries=read(document, "entries", as_count),
            size_bytes=read_optional(document, "bytes", as_count),
            is_resumable=read(document, "resumable", as_flag),
            is_available=read(document, "available", as_flag),
            skipped=read_optional(document, "skipped", as_list(skip)) or [],
        )


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a download brought.

    Attributes:
        path: of the file.
        report: what reading every byte of it found; None for what is no archive.
    """

    path: Path
    report: ArchiveReport | None


class ArchiveClient:
    """The part of a `MeteorClient` that makes and fetches archives, where the node has the archive routes.

    To make a ticket, the credentials are those of an account of the node, or the secret of a client of
    archives as `token`; to fetch one, none are needed.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def make_ticket(
        self,
        items: Sequence[str | Mapping[str, object]],
        options: Mapping[str, object] | None = None,
        *,
        kind: str = "zip",
        idempotency_key: str | None = None,
    ) -> Ticket:
        """Freeze a selection.

        Args:
            items: URLs, or objects such as ``{"search": {...}}``, ``{"record": "<file id>"}``,
                ``{"event": "<id>"}``, ``{"night": {"camera": "<id>", "date": "2016-01-31"}}``.
            options: of the archive, such as ``{"filename": "night.zip"}``.
            kind: ``zip``, or ``stream`` for one item as it is.
            idempotency_key: repeated with the same key within an hour, the same ticket is given.

        Raises:
            InvalidDocumentError, DigestMismatchError: an item or option cannot be used, or nothing matches.
            NotAuthenticatedError, NotAllowedError: the credentials do not allow it.
        """
        document: JsonObject = {"type": kind, "items": list(items), "options": dict(options or {})}
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        path = "/ticket/generate"
        with self._transport.open("POST", path, document=document, headers=headers) as reply:
            answer = json_object(reply)
        return understood(lambda: Ticket.from_dict(answer), path)

    def state(self, ticket_id: UUID) -> JsonObject:
        """How a ticket is doing: ``state``, ``position``, ``available``, ``bytes_sent``, ``errors``, ...

        Raises:
            NotFoundError: unknown, expired, withdrawn or used up.
        """
        return self._transport.get_json(f"/ticket/{ticket_id}")

    def withdraw(self, ticket_id: UUID) -> None:
        """Make a ticket of one's own useless; running downloads of it end."""
        with self._transport.open("DELETE", f"/ticket/{ticket_id}"):
            return

    def wait(self, ticket_id: UUID, seconds: float = WAIT_SECONDS) -> None:
        """Wait in the node's queue until the ticket can be fetched; then begin within half a minute.

        Raises:
            UnavailableError: its turn did not come within `seconds`.
            NotFoundError: unknown, expired, withdrawn or used up.
        """
        self._wait(f"/ticket/{ticket_id}/wait", seconds)

    def download(
        self,
        ticket_id: UUID,
        path: str | Path,
        progress: Progress | None = None,
        *,
        password: str | None = None,
    ) -> Fetched:
        """Fetch the archive of a ticket to `path`, waiting for its turn where that is needed; see `fetch`."""
        return self.fetch(f"/ticket/{ticket_id}/download", path, progress, password=password)

    def download_files(
        self, search: FileRecordSearch, path: str | Path, progress: Progress | None = None
    ) -> Fetched:
        """Fetch all files that match as one archive; see `fetch`. No credentials are needed."""
        return self.fetch(f"/bundle/files/{search_segment(search)}", path, progress)

    def fetch(
        self, link: str, path: str | Path, progress: Progress | None = None, *, password: str | None = None
    ) -> Fetched:
        """Fetch what `link` leads to: an archive is checked, anything else taken as it is.

        Interrupted, it goes on where it was, also when it is called again later and the node can do that.
        Every byte of an archive is read again before the file gets its name. Where the link is that of a
        ticket, its turn is waited for.

        Args:
            link: path below the address of the node, with its query, beginning with a slash.
            path: of the file.
            progress: told the bytes that are here.
            password: of the archive; without it what is encrypted is not checked, which the report says.

        Raises:
            NotFoundError: unknown, expired, withdrawn or used up.
            CorruptContentError: what came is damaged, also when fetched again from the start.
            PeerUnavailableError: the connection failed again and again; the next call goes on from there.
            StoreFullError: no room for it.
            InvalidDocumentError: `path` cannot be written.
        """
        ticket = _TICKET_PATH.fullmatch(link)
        if ticket is not None and not ticket["rest"]:
            link = f"{ticket['ticket']}/download"
        for _ in range(_TURNS):
            try:
                return self._fetch(link, Path(path), progress, password)
            except NotAllowedError as error:  # perhaps it has no slot, or has it no longer
                refused = _TICKET_PATH.fullmatch(self._below(str(error.context.get("url"))) or "")
                if refused is None:
                    raise
                self._wait(f"{refused['ticket']}/wait", WAIT_SECONDS)
        return self._fetch(link, Path(path), progress, password)

    def _fetch(self, link: str, goal: Path, progress: Progress | None, password: str | None) -> Fetched:
        with self._transport.open("HEAD", link) as reply:  # takes no slot
            etag = strong_tag(reply)
            content_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            # What a bundle leads to is frozen; to ask for the bundle again could freeze another one.
            link = self._below(reply.url) or link
        check = _ArchiveCheck(password) if content_type == ZIP_TYPE else None
        wanted = Wanted(
            path=link,
            fault=check or _no_fault,
            # Whatever ticket it comes from, the same tag stands for the same bytes.
            key=None if etag is None else hashlib.sha256(etag.encode()).hexdigest()[:32],
            etag=etag,
        )
        fetch_whole(self._transport, wanted, goal, progress)
        return Fetched(path=goal, report=check.report if check else None)

    def _below(self, url: str) -> str | None:
        """The path of `url` below the address of the node; None when it is somewhere else."""
        base = self._transport.base_url
        return url.removeprefix(base) if url.startswith(f"{base}/") else None

    def _wait(self, path: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            timeout = max(1, min(_LONGEST_POLL_SECONDS, int(left)))
            # After a wait that was cut off the node may take us for a second waiter for a while.
            with suppress(ConflictError):
                answer = self._transport.get_json(f"{path}?timeout={timeout}")
                if understood(partial(read, answer, "available", as_flag), path):
                    return
            self._transport.patience.pause(1)
        raise UnavailableError(f"the turn of this ticket did not come within {seconds:g} seconds")


class _ArchiveCheck:
    """Looks at what was fetched, and keeps what it found."""

    def __init__(self, password: str | None) -> None:
        self.report: ArchiveReport | None = None
        self._password = password

    def __call__(self, path: Path) -> MeteorError | None:
        self.report = check_archive(path, password=self._password)
        if self.report.is_intact:
            return None
        first = self.report.damage[0]
        return CorruptContentError(f"the archive is damaged: {first.name or 'as a whole'}: {first.reason}")


def _no_fault(path: Path) -> MeteorError | None:
    """What has no checksum is taken as it is; that it is complete is known from its length."""
    return None


def split_link(link: str) -> tuple[str, str]:
    """The address of a server, and what `ArchiveClient.fetch` takes, of the web address `link`.

    Raises:
        InvalidDocumentError: not an absolute http or https address, or one with a password.
    """
    try:
        parts = urlsplit(link)
    except ValueError as error:
        raise InvalidDocumentError(f"{link!r} is not a web address") from error
    origin = checked_base_url(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
    return origin, urlunsplit(("", "", parts.path or "/", parts.query, ""))
