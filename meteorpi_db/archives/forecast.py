"""When the turn of a ticket will come, as far as that can be told from what is being sent."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final
from uuid import UUID

from meteorpi_db.archives.downloads import Download

_LEAST_MILLISECONDS: Final = 1000  # of a download, before its speed means anything


def seconds_until_turn(
    ahead: Sequence[UUID],
    holders: Collection[UUID],
    downloads: Iterable[Download],
    sizes: Mapping[UUID, int | None],
) -> float | None:
    """Seconds until a ticket has a slot; None when that cannot be told.

    Everybody ahead is taken to download at the mean speed of those who do so now, and all of the archive.

    Args:
        ahead: the tickets that are served before it, in that order.
        holders: the tickets that have a slot; all slots are in use.
        downloads: every connection that takes bytes.
        sizes: bytes of the archive of each of these tickets, None where that is not known.
    """
    running = list(downloads)
    speeds = [speed for each in running if (speed := _bytes_a_second(each))]
    if not speeds or not holders:
        return None
    mean = fmean(speeds)
    left = [_seconds_left(ticket, running, sizes, mean) for ticket in holders]
    taken = [_seconds(sizes.get(ticket), mean) for ticket in ahead]
    known, needed = [each for each in left if each is not None], [each for each in taken if each is not None]
    if len(known) < len(left) or len(needed) < len(taken):
        return None
    heapq.heapify(known)
    for seconds in needed:
        heapq.heapreplace(known, known[0] + seconds)
    return known[0]


def _bytes_a_second(download: Download) -> float | None:
    elapsed = download.seen_at - download.started_at
    if elapsed < _LEAST_MILLISECONDS or not download.sent_bytes:
        return None
    return download.sent_bytes * 1000 / elapsed


def _seconds_left(
    ticket: UUID, downloads: Sequence[Download], sizes: Mapping[UUID, int | None], mean: float
) -> float | None:
    """Until the slot of a ticket is free: when its last connection ends, or, before it has one, all of it."""
    found = [each for each in downloads if each.ticket_id == ticket]
    if not found:
        return _seconds(sizes.get(ticket), mean)
    left = [_seconds_of(each, mean) for each in found]
    known = [each for each in left if each is not None]
    return max(known) if len(known) == len(left) else None


def _seconds_of(download: Download, mean: float) -> float | None:
    if download.total_bytes is None:
        return None
    return max(0, download.total_bytes - download.sent_bytes) / (_bytes_a_second(download) or mean)


def _seconds(size: int | None, mean: float) -> float | None:
    return None if size is None else size / mean
