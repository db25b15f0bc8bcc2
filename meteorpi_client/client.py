"""What anybody may ask a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from meteorpi_client.addresses import checked_base_url, content_url, search_segment, segment
from meteorpi_client.admin import AdminClient
from meteorpi_client.archives import ArchiveClient
from meteorpi_client.download import RemoteContent
from meteorpi_client.node import NodeClient
from meteorpi_client.paging import DEFAULT_PAGE_SIZE, Page, iterate_pages
from meteorpi_client.results import EventSearchResult, FileSearchResult
from meteorpi_client.resuming import Progress
from meteorpi_client.transport import Patience, Transport, credentials, understood
from meteorpi_model.documents import as_count, as_list, as_text, read
from meteorpi_model.errors import NotFoundError
from meteorpi_model.records import Event, FileRecord
from meteorpi_model.search import EventSearch, FileRecordSearch
from meteorpi_model.status import CameraStatus
from meteorpi_model.values import utc_datetime_to_milliseconds

CHUNK_BYTES: Final = 1 << 20


class MeteorClient:
    """A node, seen over HTTP. Methods raise the errors that the node met, by the same classes.

    Beside what each method says: `PeerUnavailableError` when no answer comes, `PeerRefusedError` when one
    comes that is not understood, `UnavailableError` when the node asks to come back later.

    Args:
        base_url: where the query routes are, such as ``https://host/api``, with or without trailing slash.
        auth: user id and password, for `admin` and for nodes that want them.
        token: an API token, or the secret of a client of archives, instead of `auth`.
        verify: True checks TLS certificates; a path names the file with the authorities to trust instead.
        patience: timeouts and repetitions.

    Raises:
        InvalidDocumentError: `base_url` is not a web address.

    Attributes:
        admin: the administrator's half.
        archives: many files as one archive.
        node: health and abilities of the node.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: tuple[str, str] | None = None,
        token: str | None = None,
        verify: bool | str = True,
        patience: Patience | None = None,
    ) -> None:
        self.base_url = checked_base_url(base_url)
        self._transport = Transport(self.base_url, credentials(auth, token), verify, patience or Patience())
        self._content = RemoteContent(self._transport)
        self.admin = AdminClient(self._transport)
        self.archives = ArchiveClient(self._transport)
        self.node = NodeClient(self._transport)

    def close(self) -> None:
        """Close the connections that are kept open between requests."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list_cameras(self) -> list[str]:
        """Ids of the cameras that the node knows, in descending order."""
        answer = self._transport.get_json("/cameras")
        return understood(lambda: read(answer, "cameras", as_list(as_text)), "/cameras")

    def get_camera_status(self, camera_id: str, status_time: datetime | None = None) -> CameraStatus | None:
        """The status of a camera at `status_time` (UTC; None: now), or None when there is none."""
        path = f"/cameras/{segment(camera_id)}/status"
        if status_time is not None:
            path += f"/{utc_datetime_to_milliseconds(status_time)}"
        try:
            answer = self._transport.get_json(path)
        except NotFoundError:
            return None
        return understood(lambda: read(answer, "status", CameraStatus.from_dict), path)

    def search_events(self, search: EventSearch | None = None) -> EventSearchResult:
        """One page of events, newest first: ``{'count', 'events'}``; None searches with the defaults."""
        answer = self._transport.get_json(f"/events/{search_segment(search or EventSearch())}")
        count = understood(lambda: read(answer, "count", as_count), "/events")
        events = understood(lambda: read(answer, "events", as_list(Event.from_dict)), "/events")
        for event in events:
            self._locate(event.file_records)
        return EventSearchResult(count, events)

    def search_files(self, search: FileRecordSearch | None = None) -> FileSearchResult:
        """One page of file records, newest first: ``{'count', 'files'}``; None searches with the defaults."""
        answer = self._transport.get_json(f"/files/{search_segment(search or FileRecordSearch())}")
        count = understood(lambda: read(answer, "count", as_count), "/files")
        files = understood(lambda: read(answer, "files", as_list(FileRecord.from_dict)), "/files")
        return FileSearchResult(count, self._locate(files))

    def iterate_events(
        self, search: EventSearch | None = None, *, page_size: int = DEFAULT_PAGE_SIZE
    ) -> Iterator[Event]:
        """Every event that matches, once, newest first, however much arrives meanwhile.

        Args:
            search: its `limit` counts over all pages, 0 for no end; None: every event.
            page_size: events to ask for at a time.
        """

        def fetch(page: EventSearch) -> Page[Event]:
            found = self.search_events(page)
            return Page(found["events"], found["count"])

        return iterate_pages(
            search or EventSearch(limit=0), fetch, lambda event: (event.event_time, event.event_id), page_size
        )

    def iterate_files(
        self, search: FileRecordSearch | None = None, *, page_size: int = DEFAULT_PAGE_SIZE
    ) -> Iterator[FileRecord]:
        """Every file record that matches, once, newest first; as `iterate_events`."""

        def fetch(page: FileRecordSearch) -> Page[FileRecord]:
            found = self.search_files(page)
            return Page(found["files"], found["count"])

        return iterate_pages(
            search or FileRecordSearch(limit=0),
            fetch,
            lambda record: (record.file_time, record.file_id),
            page_size,
        )

    @contextmanager
    def open_content(self, file_id: UUID) -> Iterator[Iterator[bytes]]:
        """The bytes of a content as they come; nothing is checked, and nothing is asked for twice.

        Raises:
            NotFoundError: the node does not hold the content.
            PeerUnavailableError: when read: the connection was cut.
        """
        with self._transport.open("GET", content_url("", file_id, None)) as reply:
            yield reply.iter_content(CHUNK_BYTES)

    def download(self, record: FileRecord, path: str | Path, progress: Progress | None = None) -> Path:
        """Write the content of `record` to `path`; as `FileRecord.download_to`, and tells about the bytes.

        Raises:
            NotFoundError: the node does not hold the content.
            DigestMismatchError: it has another MD5 than the record, also when fetched again from the start.
            PeerUnavailableError: the connection failed again and again; the next call goes on from there.
            StoreFullError: no room for it.
            InvalidDocumentError: `path` cannot be written.
        """
        return self._content.download(record, Path(path), progress)

    def _locate(self, files: list[FileRecord]) -> list[FileRecord]:
        return [record.located_by(self._content) for record in files]
