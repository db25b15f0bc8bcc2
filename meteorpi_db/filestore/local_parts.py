"""Resumable writes of a local store: one file that grows, and becomes the content at the end.

The length of the file is the offset. It only ever grows at its end and file systems write the new length
after the bytes it covers, so what is there after a crash is a beginning of the upload; ``finish`` proves it
by the digest. A lock on the file keeps two writers apart and ends with the process that holds it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

from meteorpi_db.filestore.base import PartialContent, StoredContent
from meteorpi_db.filestore.directory import ContentDirectory, stored_content
from meteorpi_db.filestore.disk import is_same_file
from meteorpi_db.filestore.failures import storage_errors
from meteorpi_db.filestore.hashing import Digests, Expectation
from meteorpi_model.errors import (
    ConflictError,
    DigestMismatchError,
    NotFoundError,
    UnavailableError,
)


class LocalPartialContent(PartialContent):
    """See :class:`PartialContent`.

    Args:
        file_id: id the content will have.
        directory: where contents are.
    """

    def __init__(self, file_id: UUID, directory: ContentDirectory) -> None:
        self._file_id = file_id
        self._directory = directory
        self._disk = directory.disk
        self._path = directory.layout.parts_path(file_id)

    @property
    def offset(self) -> int:
        """See :class:`PartialContent`; flushes first what a killed process may have left in memory."""
        with storage_errors("read a resumable write", entity_id=self._file_id):
            try:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._directory.require_root()
                return 0
            try:
                size = os.fstat(descriptor).st_size
                self._disk.flush(descriptor)
            finally:
                os.close(descriptor)
        return size

    def append(self, offset: int, chunks: Iterable[bytes]) -> int:
        """See :class:`PartialContent`."""
        with self._locked() as descriptor:
            end = self._end(descriptor)
            if offset != end:
                raise ConflictError(f"the next byte is number {end}", entity_id=self._file_id, offset=end)
            try:
                for chunk in chunks:
                    with self._errors():
                        self._disk.write(descriptor, chunk)
            finally:
                with self._errors():
                    self._disk.flush(descriptor)
            return self._end(descriptor)

    def finish(self, size: int, digests: Digests | None = None) -> StoredContent:
        """See :class:`PartialContent`."""
        expectation = Expectation(size, digests)
        if not self._path.exists():
            finished = self._finished_before(expectation)
            if finished is not None:
                return finished
        with self._locked() as descriptor:
            expectation.check_size(os.fstat(descriptor).st_size)
            with self._errors():
                facts = self._directory.facts(descriptor)
                self._disk.flush(descriptor)
            try:
                expectation.check(facts)
            except DigestMismatchError:
                self._remove()
                raise
            stored = self._directory.publish(self._file_id, self._path, descriptor, facts)
            self._remove()
            return stored

    def discard(self) -> None:
        """See :class:`PartialContent`."""
        if self._path.exists():
            with self._locked():
                self._remove()

    def _finished_before(self, expectation: Expectation) -> StoredContent | None:
        """The content, when an earlier call finished it and its answer was lost."""
        try:
            descriptor = self._directory.open(self._file_id)
        except NotFoundError:
            return None
        try:
            with self._errors():
                facts = self._directory.facts(descriptor)
                found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        try:
            expectation.check(facts)
        except DigestMismatchError as error:
            raise ConflictError(
                "another content is complete under this id", entity_id=self._file_id
            ) from error
        return stored_content(facts, found)

    def _end(self, descriptor: int) -> int:
        """Where the next byte goes; the file position is moved there."""
        with self._errors():
            # A kill between the link and the unlink of publishing leaves the content under both names.
            # A further byte would change complete content.
            if os.fstat(descriptor).st_nlink > 1:
                raise ConflictError("the content is complete", entity_id=self._file_id)
            return os.lseek(descriptor, 0, os.SEEK_END)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, open and ours alone."""
        descriptor = self._open_locked()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_locked(self) -> int:
        with self._errors():
            while True:
                descriptor = self._create()
                # It may have been published or swept between the open and the lock.
                if is_same_file(descriptor, self._path):
                    return descriptor
                os.close(descriptor)

    def _create(self) -> int:
        is_new = not self._path.exists()
        try:
            descriptor = self._directory.create(self._path, exclusive=False)
        except BlockingIOError as error:
            raise UnavailableError(
                "somebody else is writing to this content", entity_id=self._file_id
            ) from error
        try:
            if is_new:
                self._disk.flush_directory(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _remove(self) -> None:
        with self._errors():
            self._disk.unlink(self._path)

    def _errors(self) -> AbstractContextManager[None]:
        return storage_errors("keep a resumable write", entity_id=self._file_id)
