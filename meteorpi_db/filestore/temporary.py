"""A copy of a content in a temporary file, for stores whose contents are no files here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID

from meteorpi_db.filestore.failures import storage_errors


@contextmanager
def temporary_copy(
    opened: Callable[[], AbstractContextManager[Iterable[bytes]]], file_id: UUID
) -> Iterator[Path]:
    """The path of a file with the bytes that `opened` gives, which goes when the block ends."""
    with opened() as chunks, tempfile.TemporaryDirectory(prefix="meteorpi-") as directory:
        path = Path(directory, file_id.hex)
        with storage_errors("copy content to a temporary file", entity_id=file_id), path.open("wb") as copy:
            copy.writelines(chunks)
        yield path
