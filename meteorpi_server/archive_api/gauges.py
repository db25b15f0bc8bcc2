"""The metrics of archives, for the node routes to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from meteorpi_server.archive_api.figures import ArchiveFigures
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.metrics import Family, Sample

_PREFIX: Final = "meteorpi_archive_"


def families(figures: ArchiveFigures, services: Sequence[ArchiveService]) -> Iterator[Family]:
    """The metrics of one application, at however many paths it offers archives."""
    found = figures.counted()
    slots = [slot for service in services for slot in service.watcher.slots()]
    sent = found.sent_bytes + sum(slot.sent_bytes for slot in slots)
    yield _counter("downloads_started_total", "Downloads begun by this process.", found.started)
    yield _counter("downloads_resumed_total", "Downloads that went on with what was begun.", found.resumed)
    ended: list[Sample] = [({"outcome": name}, count) for name, count in sorted(found.ended.items())]
    yield Family(f"{_PREFIX}downloads_ended_total", "counter", "Downloads ended, by outcome.", ended)
    yield _gauge("downloads_active", "Connections that take bytes of this process.", len(slots))
    yield _counter("sent_bytes_total", "Bytes handed to the web server.", sent)
    failed: list[Sample] = [({"reason": name}, count) for name, count in sorted(found.failures.items())]
    yield Family(f"{_PREFIX}sources_failed_total", "counter", "Contents that failed, by reason.", failed)
    queues = [service.queue for service in services if service.queue is not None]
    yield _gauge("queue_length", "Links that wait for their turn.", queues[0].length() if queues else 0)
    yield _counter("waits_total", "Turns that were waited for.", found.waits)
    yield _counter("wait_seconds_total", "Time that turns were waited for.", found.waited_seconds)
    checksums = [each.planner.checksums for each in services if each.planner.checksums is not None]
    computed = found.computed + sum(each.computed for each in checksums)
    yield _counter("crc_computed_total", "Checksums of contents that nobody knew.", computed)
    hits = sum(each.hits for each in checksums)
    yield _counter("crc_cache_hits_total", "Checksums of files that were kept already.", hits)


def _counter(name: str, help_text: str, value: float) -> Family:
    return Family(f"{_PREFIX}{name}", "counter", help_text, [({}, value)])


def _gauge(name: str, help_text: str, value: float) -> Family:
    return Family(f"{_PREFIX}{name}", "gauge", help_text, [({}, value)])
