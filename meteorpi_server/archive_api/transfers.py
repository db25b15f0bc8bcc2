"""One archive, or parts of it, on the way to one reader: what is given back, noted and logged at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from meteorpi_model.errors import UnavailableError
from meteorpi_server.archive_api.refusals import MissingContentsError
from meteorpi_server.archive_api.remote_items import can_be_resumed
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.slots import Slot
from meteorpi_server.archiving import Plan
from meteorpi_server.archiving.failures import CutShortError, Reason, SourceFailedError
from meteorpi_server.archiving.reports import EntryFailed, EntrySent, Report
from meteorpi_server.archiving.sending import send
from meteorpi_server.ranges import ByteRange, MultipartRanges

logger = logging.getLogger("meteorpi.archive.download")

SHOWN_DIGITS: Final = 8
"""So much of a link is in the log; the whole of it would let readers of the log download."""

LOOK_SECONDS: Final = 5.0
"""How often a download looks whether its ticket was withdrawn through another process."""

_GONE: Final = frozenset({Reason.MISSING, Reason.CHANGED, Reason.SHORT, Reason.LONG, Reason.WRONG_DIGEST})
_DAMAGED: Final = frozenset({Reason.SHORT, Reason.LONG, Reason.WRONG_DIGEST})


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What is to be sent.

    Attributes:
        plan: of the archive.
        link: the id of a ticket, or the name of a directory.
        ticket_id: of the ticket whose state is kept, or None.
        ranges: parts of it; none for the whole.
        several: how more than one part is put together.
        password: what the contents are encrypted with, or None.
    """

    plan: Plan
    link: str
    ticket_id: UUID | None = None
    ranges: Sequence[ByteRange] = ()
    several: MultipartRanges | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether all of the archive is sent."""
        return not self.ranges


@dataclass
class _Progress:
    sent_bytes: int = 0
    entries: int = 0
    crcs: dict[int, int] = field(default_factory=dict)
    errors: list[EntryFailed] = field(default_factory=list)


class Transfer(Iterator[bytes]):
    """The bytes of a shipment; whatever happens, `close` gives everything back, once.

    Args:
        service: where it is counted and noted.
        shipment: what to send.
        slot: given back at the end.

    Raises:
        MissingContentsError: what is to be sent first is not there any more; the slot is free again.
        SourceFailedError: it cannot be had at present; the slot is free again.
    """

    def __init__(self, service: ArchiveService, shipment: Shipment, slot: Slot) -> None:
        self._service = service
        self._shipment = shipment
        self._slot = slot
        self._is_closed = False
        self._progress = _Progress()
        self._looked_at = time.monotonic()
        self._chunks = _chunks(service, shipment, self._take_report)
        try:
            # The status is not decided before there is something to send.
            self._first: bytes | None = next(self._chunks)
        except SourceFailedError as error:
            self._close_as(str(error.reason))
            if error.reason in _GONE:
                raise MissingContentsError([each.name for each in self._progress.errors]) from error
            raise
        except BaseException:
            self._close_as("failed")
            raise

    def __next__(self) -> bytes:
        if self._has_to_end():
            self._close_as("withdrawn")
            raise UnavailableError("the ticket was withdrawn, or its slot was given to another")
        chunk, self._first = self._first, None
        try:
            chunk = next(self._chunks) if chunk is None else chunk
        except StopIteration:
            self._close_as("complete")
            raise
        except (CutShortError, SourceFailedError) as error:
            self._close_as(str(error.reason))
            raise
        self._progress.sent_bytes += len(chunk)
        return chunk

    def _has_to_end(self) -> bool:
        """Whether the ticket was withdrawn, here or through another process, or its slot taken away."""
        if self._service.active.is_stopped(self._shipment.link) or not self._slot.is_good():
            return True
        ticket_id = self._shipment.ticket_id
        if ticket_id is None or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        return self._service.is_withdrawn(ticket_id)

    def close(self) -> None:
        """Close the sources, give the slot back, note and log what was sent; harmless when repeated."""
        self._close_as("aborted")

    def _close_as(self, outcome: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._chunks.close()
        finally:
            self._slot.end()
        self._keep_findings(outcome)
        logger.info(
            "archive sent link=%s… outcome=%s bytes=%d entries=%d of=%d is_whole=%s",
            self._shipment.link[:SHOWN_DIGITS],
            outcome,
            self._progress.sent_bytes,
            self._progress.entries,
            len(self._shipment.plan.entries),
            self._shipment.is_whole,
        )

    def _take_report(self, event: EntrySent | EntryFailed) -> None:
        if isinstance(event, EntryFailed):
            self._progress.errors.append(event)
            return
        self._progress.entries += 1
        if self._shipment.plan.entries[event.index].crc is None:
            self._progress.crcs[event.index] = event.crc

    def _keep_findings(self, outcome: str) -> None:
        """Write down what was learned, now that no bytes flow."""
        shipment, progress, service = self._shipment, self._progress, self._service
        entries = shipment.plan.entries
        if (checksums := service.planner.checksums) is not None:
            found = ((entries[index], crc) for index, crc in progress.crcs.items())
            checksums.note((entry, crc) for entry, crc in found if entry.kind == "path")
            wrong = (entries[each.index] for each in progress.errors if each.reason is Reason.WRONG_DIGEST)
            checksums.forget(entry for entry in wrong if entry.kind == "path")
        for failure in progress.errors:
            entry = entries[failure.index]
            if entry.kind == "record" and failure.reason in _DAMAGED:
                service.db.mark_corrupt(UUID(entry.reference))
        if shipment.ticket_id is None:
            return
        is_complete = outcome == "complete" and shipment.is_whole
        if is_complete and progress.crcs and can_be_resumed(shipment.plan):
            service.keep_checksums(shipment.ticket_id, shipment.plan, progress.crcs)
        service.register.note_download(
            shipment.ticket_id,
            bytes_sent=progress.sent_bytes,
            entries_done=progress.entries,
            errors=[failure.as_dict() for failure in progress.errors],
            is_complete=is_complete,
            resume_grace_seconds=service.settings.archive_resume_grace,
        )


def _chunks(service: ArchiveService, shipment: Shipment, report: Report) -> Generator[bytes]:
    plan = shipment.plan
    if shipment.is_whole:
        with service.remote.opened_ahead(plan, service.sources) as sources:
            yield from send(plan, sources, report=report, password=shipment.password)
        return
    sources = service.remote.with_source(plan, service.sources)
    if shipment.several is not None:
        for head, each in shipment.several.parts():
            yield head
            yield from send(plan, sources, each.start, each.stop, report)
        yield shipment.several.tail
    else:
        (only,) = shipment.ranges
        yield from send(plan, sources, only.start, only.stop, report)
