"""The file store in a bucket.

Source: B.4 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from uuid import UUID, uuid4

from meteorpi_db.filestore.base import (
    PARTS_SECONDS,
    TEMPORARY_SECONDS,
    ContentReader,
    ContentStat,
    FileStore,
    PartialContent,
    StoredContent,
    SweepReport,
)
from meteorpi_db.filestore.hashing import (
    ContentFacts,
    DigestPass,
    Digests,
    Expectation,
    HashedContent,
    facts_of,
    gather_blocks,
)
from meteorpi_db.filestore.probing import check_range, probe_store
from meteorpi_db.filestore.s3.bucket import Bucket, NoConditionsError, TakenError
from meteorpi_db.filestore.s3.facts import (
    has_facts_apart,
    metadata_of,
    remove_facts,
    stat_content,
    write_facts,
)
from meteorpi_db.filestore.s3.options import S3Options
from meteorpi_db.filestore.s3.parts import S3PartialContent
from meteorpi_db.filestore.s3.reading import open_object
from meteorpi_db.filestore.s3.sweep import PROBE_DIRECTORY, sweep_bucket
from meteorpi_db.filestore.s3.turns import InUse, Turns
from meteorpi_db.filestore.s3.writing import Upload
from meteorpi_model.errors import ConfigurationError, ConflictError, InvalidDocumentError, UnavailableError
from meteorpi_model.values import Clock, truncate_to_milliseconds
from meteorpi_model.values import now as current_time

LONGEST_URL_SECONDS = 7 * 24 * 3600


class S3FileStore(FileStore):
    """Contents as objects of an S3-compatible service.

    Where the service honours ``If-None-Match: *`` one of several writers of an id wins whoever they are
    (capability ``atomic-create``), for contents of one request. Otherwise that holds within a process, and
    between processes by the database, which hands out every id once.

    Args:
        options: which bucket, and how to reach it.
        clock: tells when a content was stored.
    """

    def __init__(self, options: S3Options, *, clock: Clock = current_time) -> None:
        self.options = options
        self.clock = clock
        self.in_use = InUse()
        self._bucket = _open_bucket(options)
        self._turns = Turns()
        self._honours_conditions = {"yes": True, "no": False}.get(options.conditional)

    @property
    def location(self) -> str:
        """The URL that opens this store, without keys."""
        return self.options.location

    @property
    def capabilities(self) -> frozenset[str]:
        """See :class:`FileStore`; ``atomic-create`` once the service has shown, or is said, to honour it."""
        known = {"persistent", "presign"}
        return frozenset(known | {"atomic-create"} if self._honours_conditions else known)

    def prepare(self) -> None:
        """See :meth:`FileStore.prepare`. The bucket is made by whoever runs the service, never here."""
        self._bucket.check()

    def put(
        self,
        file_id: UUID,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        digests: Digests | None = None,
    ) -> StoredContent:
        """See :meth:`FileStore.put`."""
        expectation = Expectation(size, digests)
        with Upload(self._bucket, self._key(file_id), size) as upload:
            if isinstance(chunks, HashedContent):
                expectation.check(chunks.facts)
                for block in chunks:
                    upload.write(block)
                return self._publish(file_id, upload, chunks.facts)
            with DigestPass() as hashing:
                for block in gather_blocks(chunks):
                    hashing.update(block)
                    expectation.refuse_excess(hashing.size)
                    upload.write(block)
                expectation.check_size(hashing.size)
                facts = hashing.facts()
            expectation.check(facts)
            return self._publish(file_id, upload, facts)

    def open(self, file_id: UUID, start: int = 0, stop: int | None = None) -> ContentReader:
        """See :meth:`FileStore.open`."""
        check_range(start, stop)
        return open_object(self._bucket, self._key(file_id), start, stop)

    def stat(self, file_id: UUID) -> ContentStat | None:
        """See :meth:`FileStore.stat`; digests are known of everything that a store wrote."""
        return stat_content(self._bucket, file_id)

    def delete(self, file_id: UUID) -> bool:
        """See :meth:`FileStore.delete`."""
        found = self._bucket.head(self._key(file_id))
        if found is None:
            return False
        if has_facts_apart(found):  # first, for nobody would ever look for what a kill leaves of them
            remove_facts(self._bucket, file_id)
        self._bucket.delete(self._key(file_id))
        return True

    def ids(self, after: UUID | None = None) -> Iterator[UUID]:
        """See :meth:`FileStore.ids`."""
        prefix = self._bucket.options.key("")
        last = "" if after is None else self._key(after)
        for found in self._bucket.listing(prefix, last, is_flat=True):
            file_id = self.options.content_of(found.key)
            if file_id is not None:
                yield file_id

    def parts(self, file_id: UUID) -> PartialContent:
        """See :meth:`FileStore.parts`."""
        return S3PartialContent(self, self._bucket, file_id)

    def sweep(
        self,
        older_than_seconds: float = TEMPORARY_SECONDS,
        *,
        parts_older_than_seconds: float = PARTS_SECONDS,
        now: datetime | None = None,
    ) -> SweepReport:
        """See :meth:`FileStore.sweep`; uploads in parts that nobody finished are among what is removed."""
        return sweep_bucket(
            self._bucket, self.in_use, now or self.clock(), older_than_seconds, parts_older_than_seconds
        )

    def free_bytes(self) -> int | None:
        """None: services do not tell."""
        return None

    def check(self, *, probe: bool = False) -> None:
        """See :meth:`FileStore.check`."""
        self._bucket.check()
        if probe:
            probe_store(self, uuid4())

    def url(
        self,
        file_id: UUID,
        method: str = "GET",
        expires_seconds: int = 300,
        *,
        size: int | None = None,
        content_type: str | None = None,
        disposition: str | None = None,
    ) -> str:
        """See :meth:`FileStore.url`.

        Raises:
            InvalidDocumentError: another method, or a time beyond seven days.
        """
        if method not in ("GET", "PUT"):
            raise InvalidDocumentError(f"no URL can be given for {method}")
        if not 1 <= expires_seconds <= LONGEST_URL_SECONDS:
            raise InvalidDocumentError(f"a URL is valid for 1 to {LONGEST_URL_SECONDS} seconds")
        names = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition}
        headers: dict[str, object] = {
            name: text for name, text in names.items() if text is not None and method == "GET"
        }
        if size is not None and method == "PUT":
            headers["ContentLength"] = size
        return self._bucket.presigned(self._key(file_id), method, expires_seconds, headers)

    def remote_time(self) -> datetime | None:
        """See :meth:`FileStore.remote_time`; to the second, since that is what services tell."""
        return self._bucket.remote_time()

    def find_stored(self, file_id: UUID) -> StoredContent | None:
        """Facts of a complete content, None when none is held; reads it where nobody kept them."""
        found = self.stat(file_id)
        if found is None:
            return None
        if found.md5 is None or found.sha256 is None or found.crc32 is None:
            with self.open(file_id) as chunks:
                return StoredContent(**asdict(facts_of(chunks)), stored_at=found.stored_at)
        return StoredContent(
            size=found.size,
            md5=found.md5,
            sha256=found.sha256,
            crc32=found.crc32,
            stored_at=found.stored_at,
        )

    def _publish(self, file_id: UUID, upload: Upload, facts: ContentFacts) -> StoredContent:
        """Make what was sent visible unless the same bytes are there already."""
        stored = StoredContent(**asdict(facts), stored_at=truncate_to_milliseconds(self.clock()))
        with self._turns.of(file_id):
            is_decided_there = not upload.is_in_parts and self._has_conditions()
            held = None if is_decided_there else self.find_stored(file_id)
            if held is None:
                try:
                    self._send(file_id, upload, stored, only_new=is_decided_there)
                except TakenError:
                    held = self.find_stored(file_id)
                    if held is None:
                        raise UnavailableError(
                            "somebody else is writing this content", entity_id=file_id
                        ) from None
                else:
                    return stored
        if held.sha256 != facts.sha256:
            raise ConflictError("other bytes are stored under this id", entity_id=file_id)
        return held

    def _send(self, file_id: UUID, upload: Upload, stored: StoredContent, *, only_new: bool) -> None:
        if upload.is_in_parts:
            found = upload.complete(stored.size)
            write_facts(self._bucket, file_id, stored, found.tag)
        else:
            upload.put(metadata_of(stored), only_new=only_new, md5=stored.md5)

    def _has_conditions(self) -> bool:
        """Whether the service honours ``If-None-Match: *``; asked once in each process unless it is said."""
        if self._honours_conditions is None:
            key = self._bucket.options.key(PROBE_DIRECTORY, uuid4().hex)
            self._bucket.put(key, b"", {})
            try:
                self._bucket.put(key, b"", {}, only_new=True)
                self._honours_conditions = False
            except NoConditionsError:
                self._honours_conditions = False
            except TakenError:
                self._honours_conditions = True
            finally:
                self._bucket.delete(key)
        return self._honours_conditions

    def _key(self, file_id: UUID) -> str:
        return self._bucket.options.key(file_id.hex)


def _open_bucket(options: S3Options) -> Bucket:
    if options.client == "boto3":
        return Bucket(options)
    try:
        from meteorpi_db.filestore.s3.fast_reading import FastBucket
    except ImportError as error:
        raise ConfigurationError("client=obstore needs: pip install 'meteorpi[s3,s3-fast]'") from error
    return FastBucket(options)
