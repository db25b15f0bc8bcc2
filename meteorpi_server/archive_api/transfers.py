"""One archive, or parts of it, on the way to one reader: what is given back, noted and logged at its end."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from meteorpi_server.archive_api.deliveries import COMPLETE, FAILED, Delivery
from meteorpi_server.archive_api.refusals import MissingContentsError
from meteorpi_server.archive_api.remote_items import can_be_resumed
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.slots import Slot
from meteorpi_server.archiving import Plan
from meteorpi_server.archiving.cutting import CuttableSource, Cutter
from meteorpi_server.archiving.failures import CutShortError, Reason, SourceFailedError
from meteorpi_server.archiving.prefetch import Prefetcher
from meteorpi_server.archiving.read_ahead import ReadAhead
from meteorpi_server.archiving.reports import EntryFailed, EntrySent, Report
from meteorpi_server.archiving.sending import send
from meteorpi_server.archiving.sources import Chunks, Source
from meteorpi_server.ranges import ByteRange, MultipartRanges

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

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on with what was begun."""
        return bool(self.ranges) and self.ranges[0].start > 0

    @property
    def total_bytes(self) -> int | None:
        """How much is sent; None when nobody knows."""
        if self.several is not None:
            return self.several.length
        return sum(each.length for each in self.ranges) if self.ranges else self.plan.total_bytes


@dataclass
class _Progress:
    entries: int = 0
    crcs: dict[int, int] = field(default_factory=dict)
    errors: list[EntryFailed] = field(default_factory=list)


def transfer(service: ArchiveService, shipment: Shipment, slot: Slot) -> Delivery:
    """The bytes of a shipment, counted and noted when they end.

    Args:
        service: where they are counted and noted.
        shipment: what to send.
        slot: given back at the end.

    Raises:
        MissingContentsError: what is to be sent first is not there any more; the slot is free again.
        SourceFailedError: it cannot be had at present; the slot is free again.
    """
    account = _Account(service, shipment, slot)
    cutter = Cutter()
    slot.total_bytes = shipment.total_bytes
    slot.cut_by(cutter.cut)
    service.figures.began(is_resumed=shipment.is_resumed)
    chunks: Chunks = _chunks(service, shipment, cutter, account.take_report)
    if not any(
        entry.kind == "url" for entry in shipment.plan.entries
    ):  # those are opened ahead, and can be cut
        chunks = ReadAhead(chunks)
    try:
        return Delivery(chunks, slot, service.rates, reason_of=_reason_of, note=account.close)
    except SourceFailedError as error:
        if error.reason in _GONE:
            raise MissingContentsError(account.failed_names) from error
        raise


def _reason_of(error: BaseException) -> str:
    return str(error.reason) if isinstance(error, CutShortError | SourceFailedError) else FAILED


class _Account:
    """What is learned while a shipment is sent, and where it goes when that has ended."""

    def __init__(self, service: ArchiveService, shipment: Shipment, slot: Slot) -> None:
        self._service = service
        self._shipment = shipment
        self._slot = slot
        self._progress = _Progress()

    @property
    def failed_names(self) -> list[str]:
        """Names of the entries whose content failed."""
        return [each.name for each in self._progress.errors]

    def close(self, outcome: str) -> None:
        """Write down what was learned, now that no bytes flow."""
        self._keep_findings(outcome)
        progress, plan = self._progress, self._shipment.plan
        self._service.figures.ended(
            self._slot,
            outcome,
            f"entries={progress.entries} of={len(plan.entries)} is_whole={self._shipment.is_whole}",
        )

    def take_report(self, event: EntrySent | EntryFailed) -> None:
        if isinstance(event, EntryFailed):
            self._progress.errors.append(event)
            self._service.figures.failed(str(event.reason))
            return
        self._progress.entries += 1
        if self._shipment.plan.entries[event.index].crc is None:
            self._progress.crcs[event.index] = event.crc

    def _keep_findings(self, outcome: str) -> None:
        shipment, progress, service = self._shipment, self._progress, self._service
        entries = shipment.plan.entries
        if (checksums := service.planner.checksums) is not None:
            found = ((entries[index], crc) for index, crc in progress.crcs.items())
            checksums.note((entry, crc) for entry, crc in found if entry.kind == "path")
            wrong = (entries[each.index] for each in progress.errors if each.reason is Reason.WRONG_DIGEST)
            checksums.forget(entry for entry in wrong if entry.kind == "path")
        service.figures.computed(sum(entries[index].kind == "url" for index in progress.crcs))
        for failure in progress.errors:
            entry = entries[failure.index]
            if entry.kind == "record" and failure.reason in _DAMAGED:
                service.db.mark_corrupt(UUID(entry.reference))
        if shipment.ticket_id is None:
            return
        is_complete = outcome == COMPLETE and shipment.is_whole
        if is_complete and progress.crcs and can_be_resumed(shipment.plan):
            service.keep_checksums(shipment.ticket_id, shipment.plan, progress.crcs)
        service.register.note_download(
            shipment.ticket_id,
            bytes_sent=self._slot.sent_bytes,
            entries_done=progress.entries,
            errors=[failure.as_dict() for failure in progress.errors],
            is_complete=is_complete,
            resume_grace_seconds=service.settings.archive_resume_grace,
        )


def _chunks(service: ArchiveService, shipment: Shipment, cutter: Cutter, report: Report) -> Generator[bytes]:
    plan, chunk_bytes = shipment.plan, service.settings.archive_chunk_size
    if shipment.is_whole:
        with service.remote.opened_ahead(plan, service.sources) as opened:
            if isinstance(ahead := opened.get("url"), Prefetcher):
                cutter.add(ahead.close)
            sources = _cuttable(opened, cutter)
            yield from send(plan, sources, report=report, chunk_bytes=chunk_bytes, password=shipment.password)
        return
    sources = _cuttable(service.remote.with_source(plan, service.sources), cutter)
    if shipment.several is not None:
        for head, each in shipment.several.parts():
            yield head
            yield from send(plan, sources, each.start, each.stop, report, chunk_bytes=chunk_bytes)
        yield shipment.several.tail
    else:
        (only,) = shipment.ranges
        yield from send(plan, sources, only.start, only.stop, report, chunk_bytes=chunk_bytes)


def _cuttable(sources: Mapping[str, Source], cutter: Cutter) -> Mapping[str, Source]:
    """`sources`; of those that may keep others waiting, what is open can be cut off."""
    if "url" not in sources:
        return sources
    return {**sources, "url": CuttableSource(sources["url"], cutter)}
