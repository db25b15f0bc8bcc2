"""The contents of files: where a node has them, and how they come here."""

from __future__ import annotations

from pathlib import Path

from meteorpi_client.addresses import content_url
from meteorpi_client.resuming import Progress, Wanted, fetch_whole
from meteorpi_client.transport import Transport
from meteorpi_model.errors import DigestMismatchError, InvalidDocumentError, MeteorError
from meteorpi_model.records import FileRecord
from meteorpi_model.values import get_md5_hash


class RemoteContent:
    """Where the records of one node find their content (a `ContentLocator`)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def path(self, record: FileRecord) -> Path | None:
        """None: the content is not a local file."""
        return None

    def url(self, record: FileRecord) -> str | None:
        """``<base>/files/content/<hex id>/<file_name>``; None when the record has no id or no size."""
        if record.file_id is None or record.file_size is None:
            return None
        return content_url(self._transport.base_url, record.file_id, record.file_name)

    def download(self, record: FileRecord, path: Path, progress: Progress | None = None) -> Path:
        """Write the content of `record` to `path`, replacing what is there, and return `path`.

        Raises:
            NotFoundError: the node does not hold the content.
            DigestMismatchError: it has another MD5 than the record, also when fetched again from the start.
            PeerUnavailableError: the connection failed again and again; the next call goes on from there.
            StoreFullError: no room for it.
            InvalidDocumentError: `path` cannot be written.
        """
        fetch_whole(self._transport, _content_of(record), path, progress)
        return path


def _content_of(record: FileRecord) -> Wanted:
    if record.file_id is None:
        raise InvalidDocumentError("a record without file_id has no content")
    return Wanted(
        # The bare address: a name with a slash in it would not pass every proxy.
        path=content_url("", record.file_id, None),
        fault=lambda path: _fault(record, path),
        key=record.file_id.hex,
        # Where the tag of a node is the MD5, what an earlier run left can be gone on from.
        etag=f'"{record.md5}"' if record.md5 else None,
    )


def _fault(record: FileRecord, path: Path) -> MeteorError | None:
    if record.md5 is None:
        is_right = path.stat().st_size == record.file_size
    else:
        is_right = get_md5_hash(path) == record.md5.lower()
    if is_right:
        return None
    return DigestMismatchError(
        f"the node sent content without the MD5 of the record, {record.md5}", entity_id=record.file_id
    )
