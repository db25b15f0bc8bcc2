"""What becomes of each request of the block routes: a line of the log, and the figures of those for objects.

A request ends when its answer has been sent, or given up; that is when it is written down.

Source: A.12, K-171 and K-504 of the storage contract.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote

from flask import Response, g, has_request_context, request

from meteorpi_server.block_api.metrics import BlockMetrics
from meteorpi_server.context import current_request_id

logger = logging.getLogger("meteorpi.block.access")

_OF_OBJECTS: Final = frozenset({"read_object", "write_object", "remove_object"})
_ASKED_OFTEN: Final = frozenset({"show_health", "show_readiness", "show_metrics"})


@dataclass
class RequestNotes:
    """What is written down of a request.

    Attributes:
        method, prefix, path: of the request; the two names empty where it has none.
        view: name of what answers.
        begun_at: monotonic time.
        request_id: by which logs name it.
        account: who sent it, as far as that was asked for.
        received, sent: bytes of its body, and of that of its answer.
    """

    method: str
    prefix: str
    path: str
    view: str
    begun_at: float
    request_id: str
    account: str = ""
    received: int = 0
    sent: int = 0

    @property
    def is_of_object(self) -> bool:
        """Whether it is a request for an object."""
        return self.view in _OF_OBJECTS

    def log(self, status: int) -> None:
        """Write the line of the log."""
        logger.log(
            logging.DEBUG if self.view in _ASKED_OFTEN else logging.INFO,
            "request method=%s prefix=%s path=%s status=%d received=%d sent=%d milliseconds=%d account=%s",
            self.method,
            quote(self.prefix) or "-",
            quote(self.path) or "-",
            status,
            self.received,
            self.sent,
            round(1000 * (time.monotonic() - self.begun_at)),
            quote(self.account, safe=":") or "-",
            extra={"request_id": self.request_id},
        )


def current_notes() -> RequestNotes | None:
    """The notes of the current request, None outside of one."""
    return cast("RequestNotes | None", g.get("meteorpi_block_notes")) if has_request_context() else None


def note_account(name: str) -> None:
    """Write down who sent the current request."""
    notes = current_notes()
    if notes is not None:
        notes.account = name


def note_received(size: int) -> None:
    """Write down how many bytes the body of the current request had."""
    notes = current_notes()
    if notes is not None:
        notes.received = size


def begin(metrics: BlockMetrics) -> None:
    """Begin to take notes of the current request."""
    names = request.view_args or {}
    notes = RequestNotes(
        method=request.method,
        prefix=str(names.get("prefix", "")),
        path=str(names.get("path", "")),
        view=(request.endpoint or "").rpartition(".")[2],
        begun_at=time.monotonic(),
        request_id=current_request_id(),
    )
    g.meteorpi_block_notes = notes
    if notes.is_of_object:
        metrics.began()


def follow(response: Response, metrics: BlockMetrics) -> Response:
    """Go on taking notes until the answer has been sent."""
    notes = current_notes()
    if notes is None:  # it was refused before anybody looked at it
        return response
    if response.is_streamed:
        response.response = _Counted(response, notes)
    elif request.method != "HEAD":
        notes.sent = response.calculate_content_length() or 0
    status = response.status_code
    code = _problem_code(response) if notes.is_of_object and status >= 400 else None

    def end() -> None:
        if notes.is_of_object:
            metrics.ended(time.monotonic() - notes.begun_at)
            if code is not None:
                metrics.refused(code)
            elif notes.method == "GET" and status in (200, 206):
                metrics.sent(notes.sent)
        notes.log(status)

    response.call_on_close(end)
    return response


def _problem_code(response: Response) -> str:
    document = response.get_json(silent=True)
    return str(document.get("code", "")) if isinstance(document, dict) else ""


class _Counted(Iterator[bytes]):
    """The body of an answer, counted as it is taken."""

    def __init__(self, response: Response, notes: RequestNotes) -> None:
        self._body = response.response
        self._chunks = response.iter_encoded()
        self._notes = notes

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._notes.sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Give the body back."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
