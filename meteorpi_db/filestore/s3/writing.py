"""A content on its way into an S3 store: one request for a small one, parts for a large one.

The bytes are held in memory until they are sent, a part at a time, so nothing is spooled to a disk and a
request can be repeated; never is a body sent that cannot be sent again (S-136). Up to
:attr:`S3Options.parallel` parts are in memory, the one being filled among them.

Source: S-131 to S-136 of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self
from uuid import uuid4

from meteorpi_db.filestore.s3.answers import ObjectFacts
from meteorpi_db.filestore.s3.bucket import Bucket, ForgottenUploadError, TakenError
from meteorpi_db.filestore.s3.options import MOST_PARTS
from meteorpi_model.errors import MeteorError, TooLargeError, UnavailableError

logger = logging.getLogger(__name__)

_MARK = "meteorpi-upload"
"""Metadata by which an upload knows its own object again when the answer to its completion was lost."""


class Upload:
    """The bytes of one content, sent as they come.

    Use as a context manager: leaving it gives up what was not completed.

    Args:
        bucket: where to.
        key: of the object.
        size: announced, or None.
    """

    def __init__(self, bucket: Bucket, key: str, size: int | None) -> None:
        self._bucket = bucket
        self._key = key
        options = bucket.options
        self._part_size = max(options.part_size, -(-(size or 0) // MOST_PARTS))
        self._filling = bytearray()
        self._mark = uuid4().hex
        self._upload_id: str | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._sent: dict[int, Future[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        if self._upload_id is not None:
            self._give_up(self._upload_id)

    @property
    def is_in_parts(self) -> bool:
        """Whether the content turned out to be too large for one request."""
        return self._upload_id is not None

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        start = 0
        while len(self._filling) + len(block) - start > self._part_size:
            room = self._part_size - len(self._filling)
            self._filling += memoryview(block)[start : start + room]
            start += room
            self._send_part()
        self._filling += memoryview(block)[start:]

    def put(self, metadata: Mapping[str, str], *, only_new: bool, md5: str) -> None:
        """Send all bytes in one request; raises as :meth:`Bucket.put`."""
        self._bucket.put(self._key, self._filling, metadata, only_new=only_new, md5=md5)

    def complete(self, size: int) -> ObjectFacts:
        """Send the last part and make the content visible.

        Args:
            size: bytes that were written.

        Raises:
            TakenError: somebody else's content is there in the same moment.
            UnavailableError: the service made something else of it; that is removed.
        """
        if self._filling:
            self._send_part()
        tags = {number: sent.result() for number, sent in self._sent.items()}
        is_answered = self._complete(tags)
        found = self._bucket.head(self._key)
        mark = None if found is None else found.metadata.get(_MARK, self._mark if is_answered else None)
        if found is None or mark is None:
            raise UnavailableError("the S3 service lost the content when it was complete")
        if mark != self._mark:
            raise TakenError
        if found.size != size:
            self._bucket.delete(self._key)
            raise UnavailableError(f"the S3 service stored {found.size} of {size} bytes")
        return found

    def _complete(self, tags: Mapping[int, str]) -> bool:
        """Whether the service said that it did; else it may have, and the answer was lost."""
        upload_id, self._upload_id = self._require_upload(), None
        try:
            self._bucket.complete_upload(self._key, upload_id, tags)
        except ForgottenUploadError:
            return False
        except MeteorError:
            self._upload_id = upload_id
            raise
        return True

    def _send_part(self) -> None:
        upload_id = self._require_upload()
        number = len(self._sent) + 1
        if number > MOST_PARTS:
            raise TooLargeError(
                f"more than {MOST_PARTS} parts of {self._part_size} bytes: announce the size or set part_size"
            )
        body, self._filling = self._filling, bytearray()
        self._sent[number] = self._submit(upload_id, number, body)

    def _submit(self, upload_id: str, number: int, body: bytearray) -> Future[str]:
        at_once = self._bucket.options.parallel - 1
        if not at_once:
            sent: Future[str] = Future()
            sent.set_result(self._bucket.put_part(self._key, upload_id, number, body))
            return sent
        if self._threads is None:
            self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="meteorpi-s3")
        waiting = [sent for sent in self._sent.values() if not sent.done()]
        if len(waiting) >= at_once:
            for sent in wait(waiting, return_when=FIRST_COMPLETED).done:
                sent.result()
        return self._threads.submit(self._bucket.put_part, self._key, upload_id, number, body)

    def _require_upload(self) -> str:
        if self._upload_id is None:
            self._upload_id = self._bucket.begin_upload(self._key, {_MARK: self._mark})
        return self._upload_id

    def _give_up(self, upload_id: str) -> None:
        """Tell the service; when it does not listen, the sweep will."""
        try:
            self._bucket.abort_upload(self._key, upload_id)
        except MeteorError as error:
            logger.warning("parts of an upload stay until the sweep key=%s reason=%s", self._key, error)
