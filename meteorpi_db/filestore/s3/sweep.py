"""Removal of what dead processes left in the bucket of an S3 store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from meteorpi_db.filestore.base import SweepReport
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.filestore.s3.parts import PARTS_DIRECTORY, owner_of
from meteorpi_db.filestore.s3.turns import InUse

PROBE_DIRECTORY = ".probe"


def sweep_bucket(
    bucket: Bucket, in_use: InUse, now: datetime, temporary_seconds: float, parts_seconds: float
) -> SweepReport:
    """Remove unfinished uploads, probes and resumable writes of which nothing was heard for long enough."""
    outcomes = [
        *_sweep_uploads(bucket, now - timedelta(seconds=temporary_seconds)),
        *_sweep_probes(bucket, now - timedelta(seconds=temporary_seconds)),
        *_sweep_parts(bucket, in_use, now - timedelta(seconds=parts_seconds)),
    ]
    freed = [outcome for outcome in outcomes if outcome is not None]
    return SweepReport(removed=len(freed), freed_bytes=sum(freed), kept=len(outcomes) - len(freed))


def _sweep_uploads(bucket: Bucket, not_after: datetime) -> Iterator[int | None]:
    """Bytes freed by each unfinished upload of a content in parts, None where one is kept."""
    for upload in bucket.uploads(bucket.options.key("")):
        if bucket.options.content_of(upload.key) is None:
            continue  # of somebody else who uses the bucket
        if bucket.is_own_upload(upload) or upload.begun > not_after:
            yield None
            continue
        parts = list(bucket.sent_parts(upload))
        if any(sent_at > not_after for _, sent_at in parts):
            yield None
            continue
        bucket.abort_upload(upload.key, upload.upload_id)
        yield sum(size for size, _ in parts)


def _sweep_probes(bucket: Bucket, not_after: datetime) -> Iterator[int | None]:
    for probe in bucket.listing(bucket.options.key(PROBE_DIRECTORY, "")):
        if probe.modified > not_after:
            yield None
        else:
            bucket.delete(probe.key)
            yield probe.size


def _sweep_parts(bucket: Bucket, in_use: InUse, not_after: datetime) -> Iterator[int | None]:
    """The same for each resumable write."""
    for file_id, found in groupby(bucket.listing(bucket.options.key(PARTS_DIRECTORY, "")), owner_of):
        pieces = list(found)
        if file_id is None:
            continue
        with in_use.taken(file_id) as is_ours:
            if not is_ours or any(piece.modified > not_after for piece in pieces):
                yield None
                continue
            for piece in reversed(pieces):
                bucket.delete(piece.key)
            yield sum(piece.size for piece in pieces)
