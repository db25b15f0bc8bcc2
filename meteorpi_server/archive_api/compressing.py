"""Which entries of an archive are deflated.

Where a body has to be made while it is sent, nobody knows its length, nor that of the archive: that
is why nothing is deflated unless somebody asks for it, and under ``auto`` only what is worth it.

Source:
    Section 3.15 of the archive contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Final

from meteorpi_server.archiving import Entry, Form
from meteorpi_server.archiving.encoders import SAMPLE_BYTES, encoder
from meteorpi_server.archiving.media_types import Shrinking, shrinking
from meteorpi_server.archiving.sources import Source

SMALL_BYTES: Final = 256
"""Contents with less are stored: there is nothing to gain."""

_LARGE_BYTES: Final = 0xFFF0_0000
# The length of a body that is not known yet has 32 bits, also in the first entry; see `has_local_zip64`.


def compressed(entry: Entry, media_type: str, compression: str, sources: Mapping[str, Source]) -> Entry:
    """`entry` in the form that the option `compression` gives it.

    Args:
        entry: as it would be stored.
        media_type: of its content; empty where nobody said it.
        compression: ``store``, ``auto``, or ``deflate`` for all there is, photographs too.
        sources: of contents that are here, by kind of entry; asked for samples of what may shrink.

    Raises:
        SourceFailedError: the content cannot be read.
    """
    too_small_or_large = entry.size is not None and not SMALL_BYTES <= entry.size < _LARGE_BYTES
    if compression == "store" or entry.is_directory or too_small_or_large:
        return entry
    shrinks = Shrinking.YES if compression == "deflate" else shrinking(media_type, entry.name)
    if shrinks is Shrinking.UNKNOWN and entry.kind in sources:
        shrinks = _sampled(entry, sources[entry.kind])
    if shrinks is Shrinking.YES:
        return _to_deflate(entry, how="always")
    # What has no length in the archive anyway can be looked at on its way.
    is_open = entry.form is Form.STREAMED
    return _to_deflate(entry, how="probe") if shrinks is Shrinking.UNKNOWN and is_open else entry


def deflated_body(entry: Entry) -> Entry:
    """An entry whose content the plan holds, deflated here and now: its length stays known."""
    body = b"".join(encoder.deflated((entry.body,)))
    if len(entry.body) < SMALL_BYTES or len(body) >= len(entry.body):
        return entry
    details = dict(entry.details) | {"encoder": encoder.identity}
    return replace(entry, form=Form.DEFLATED, body=body, stored_size=len(body), details=details)


def _to_deflate(entry: Entry, *, how: str) -> Entry:
    return replace(entry, form=Form.STREAMED, details=dict(entry.details) | {"deflate": how})


def _sampled(entry: Entry, source: Source) -> Shrinking:
    """What the middle of a content says: headers at its beginning shrink whatever follows them."""
    size = entry.size or 0
    start = max(0, (size - SAMPLE_BYTES) // 2)
    with closing(source.open(entry, start, min(size, start + SAMPLE_BYTES))) as chunks:
        sample = b"".join(chunks)[:SAMPLE_BYTES]
    return Shrinking.YES if encoder.does_shrink(sample) else Shrinking.NO
