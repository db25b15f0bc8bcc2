"""What an S3 store knows of a content without reading it.

A content written in one request carries its digests as metadata of its object. The digests of one that was
written in parts are known only after its metadata had to be said, so they are an object of their own, bound
to the state of the content by the tag that the service gave it.

Source: S-131 and S-133 of the storage contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from uuid import UUID

from meteorpi_db.filestore.base import ContentStat, StoredContent
from meteorpi_db.filestore.s3.answers import ObjectFacts
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.filestore.s3.reading import open_object
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import milliseconds_to_utc_datetime, utc_datetime_to_milliseconds

FACTS_DIRECTORY = ".facts"
_MOST_BYTES = 4096


def metadata_of(stored: StoredContent) -> dict[str, str]:
    """Digests and time of a content as texts."""
    return {
        "meteorpi-md5": stored.md5,
        "meteorpi-sha256": stored.sha256,
        "meteorpi-crc32": str(stored.crc32),
        "meteorpi-stored": str(utc_datetime_to_milliseconds(stored.stored_at)),
    }


def stat_content(bucket: Bucket, file_id: UUID) -> ContentStat | None:
    """Size, time and, where they are known, digests of a content; None when none is held."""
    found = bucket.head(bucket.options.key(file_id.hex))
    if found is None:
        return None
    return (
        _stat_from(found.metadata, found)
        or _stat_from(_facts_apart(bucket, file_id, found), found)
        or ContentStat(size=found.size, stored_at=found.modified)
    )


def write_facts(bucket: Bucket, file_id: UUID, stored: StoredContent, tag: str) -> None:
    """Keep the digests of a content that was written in parts."""
    document = json.dumps({"tag": tag, **metadata_of(stored)}).encode()
    bucket.put(_facts_key(bucket, file_id), document, {})


def has_facts_apart(found: ObjectFacts) -> bool:
    """Whether the digests of a content may be an object of their own."""
    return "meteorpi-sha256" not in found.metadata


def remove_facts(bucket: Bucket, file_id: UUID) -> None:
    """Forget such an object; harmless when there is none."""
    bucket.delete(_facts_key(bucket, file_id))


def _facts_key(bucket: Bucket, file_id: UUID) -> str:
    return bucket.options.key(FACTS_DIRECTORY, file_id.hex)


def _facts_apart(bucket: Bucket, file_id: UUID, found: ObjectFacts) -> Mapping[str, str]:
    try:
        with open_object(bucket, _facts_key(bucket, file_id), 0, _MOST_BYTES) as chunks:
            document = json.loads(b"".join(chunks))
    except NotFoundError:
        return {}
    if document.get("tag") != found.tag:
        return {}  # of another state: its writer was killed before it wrote the digests of this one
    return {name: str(text) for name, text in document.items()}


def _stat_from(texts: Mapping[str, str], found: ObjectFacts) -> ContentStat | None:
    """None where the texts do not say all there is to say, as with objects somebody else put there."""
    try:
        return ContentStat(
            size=found.size,
            md5=texts["meteorpi-md5"],
            sha256=texts["meteorpi-sha256"],
            crc32=int(texts["meteorpi-crc32"]),
            stored_at=milliseconds_to_utc_datetime(int(texts["meteorpi-stored"])),
        )
    except (KeyError, ValueError):
        return None
