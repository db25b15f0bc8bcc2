"""Plans to bytes: the whole of an archive, or any part of one whose every byte is fixed.

Memory does not grow with the archive, and nothing is read before somebody takes what came before it.

Source:
    Sections 3.8, 3.12 and 4.5 of the archive contract.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving.failures import CutShortError, SourceFailedError
from meteorpi_server.archiving.outbox import CHUNK_BYTES, gathered
from meteorpi_server.archiving.plan import Plan
from meteorpi_server.archiving.reports import Report, ignore
from meteorpi_server.archiving.slicing import archive_part
from meteorpi_server.archiving.sources import Source
from meteorpi_server.archiving.writing import whole_archive


def send(
    plan: Plan,
    sources: Mapping[str, Source],
    start: int = 0,
    stop: int | None = None,
    report: Report = ignore,
    *,
    password: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Generator[bytes]:
    """The bytes of the archive of `plan` from `start` up to, not including, `stop`.

    Args:
        plan: what to send.
        sources: by kind of entry; directories need none.
        start: first byte; more than 0 for a resumable plan only.
        stop: one past the last, None for the end; something else for a resumable plan only.
        report: told of each entry that was sent whole and each that failed, while it happens.
        password: what encrypted entries are encrypted with.
        chunk_bytes: largest chunk.

    Returns:
        Chunks. The first comes before a second source is opened. Closing the generator closes what is open.

    Raises:
        InvalidDocumentError: the range is not within the archive, or the plan has none, or needs a password.
        SourceFailedError: a source failed, and nothing has been sent.
        CutShortError: a source failed after that; the last block of its entry has not been sent.
    """
    if plan.is_resumable:
        total = plan.layout.total
        stop = total if stop is None else stop
        if not 0 <= start <= stop <= total:
            raise InvalidDocumentError(f"an archive of {total} bytes has no bytes {start} to {stop}")
        pieces = archive_part(plan, sources, start, stop, report)
    elif start or stop not in (None, plan.total_bytes):
        raise InvalidDocumentError("this archive can only be sent as a whole")
    elif plan.is_encrypted and not password:
        raise InvalidDocumentError("this archive needs a password")
    else:
        pieces = whole_archive(plan, sources, report, password or "")
    return _sent(pieces, chunk_bytes)


def _sent(pieces: Generator[bytes], chunk_bytes: int) -> Generator[bytes]:
    """Chunks of `pieces`; the error that ends them says whether something has left."""
    sent = 0
    with closing(pieces):
        try:
            for chunk in gathered(pieces, chunk_bytes):
                sent += len(chunk)
                yield chunk
        except SourceFailedError as error:
            if not sent:
                raise
            index = error.context.get("index")
            raise CutShortError(
                f"the archive ends after {sent} bytes: {error.detail}",
                index=index if isinstance(index, int) else -1,
                reason=error.reason,
            ) from error
