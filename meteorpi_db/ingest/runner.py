"""`ingest`: from a path to records."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from meteorpi_db.filestore import LocalFileStore
from meteorpi_db.ingest.base import Folder, IngestOptions, Reader
from meteorpi_db.ingest.folders import folder_of_file, walk
from meteorpi_db.ingest.plain import PlainReader
from meteorpi_db.ingest.quarantine import Quarantine
from meteorpi_db.ingest.report import IngestReport, Progress, Trouble
from meteorpi_db.ingest.rms import RmsReader
from meteorpi_db.ingest.taker import Taker
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, UnknownStatusError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

QUARANTINE_SUFFIX = "-quarantine"
DEFAULT_QUARANTINE = "meteorpi-quarantine"


def readers_for(db: MeteorDatabase) -> tuple[Reader, ...]:
    """Every reader, the most specific first; the last one reads any directory."""
    return RmsReader(), PlainReader(db.installation_id)


def ingest(
    db: MeteorDatabase,
    path: str | Path,
    options: IngestOptions | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Take a file, or every file below a directory, into the database and the file store.

    Each directory is offered to the readers; the first that recognises it takes it. What is held already is
    left as it is, so repeating an ingest adds nothing, and completes one that was interrupted. The source
    is only read, unless the options say `move`.

    Args:
        db: the node's database.
        path: a file or directory.
        options: how; None takes the defaults.
        progress: told while it goes on.

    Returns:
        What was done. Damaged files and those that could not be taken do not stop the rest; they are in
        the report.

    Raises:
        InvalidDocumentError: there is nothing at `path` (a ``ValueError``).
        StoreFullError, UnavailableError: the node cannot go on; what was reported is stored, repeat later.
    """
    source = Path(path)
    options = options or IngestOptions()
    report = IngestReport()
    found: Iterator[Folder]
    if source.is_dir():
        avoid = own_directories(db, options)
        found = (Folder(each) for each in walk(source, avoid, lambda *args: refuse(report, *args)))
    elif source.is_file():
        found = iter([folder_of_file(source)])
    else:
        raise InvalidDocumentError(f"there is no file or directory {path}", path=str(path))
    return ingest_folders(db, found, options, report, progress)


def ingest_folders(
    db: MeteorDatabase,
    folders: Iterable[Folder],
    options: IngestOptions,
    report: IngestReport,
    progress: Progress | None = None,
) -> IngestReport:
    """Take the given folders in; counts into `report` and gives it back. Raises as :func:`ingest`."""
    begun = time.monotonic()
    readers = readers_for(db)
    quarantine = Quarantine(quarantine_path(db, options))
    with Taker(
        db,
        quarantine,
        report,
        progress,
        move=options.move,
        workers=options.workers,
        keep_frames_days=options.keep_frames_days,
        keep_events_days=options.keep_events_days,
    ) as taker:
        for folder in folders:
            try:
                _take_folder(taker, readers, folder, options, report)
            except (UnknownStatusError, ConfigurationError) as error:
                report.refused.append(Trouble(folder.path, error.detail))
            except OSError as error:
                refuse(report, folder.path, error)
            report.seconds = time.monotonic() - begun
    return report


def _take_folder(
    taker: Taker, readers: Iterable[Reader], folder: Folder, options: IngestOptions, report: IngestReport
) -> None:
    if next(folder.wanted_names(), None) is None:
        return
    reader = next(each for each in readers if each.recognises(folder))
    report.folders[reader.name] += 1
    taker.take_folder(reader.read(folder, options), has_events=reader.has_events)


def quarantine_path(db: MeteorDatabase, options: IngestOptions) -> Path:
    """Where damaged files go: as the options say, else beside a local file store, else in this directory."""
    if options.quarantine_path is not None:
        return options.quarantine_path
    store = _local_store(db)
    return Path(DEFAULT_QUARANTINE) if store is None else store.with_name(store.name + QUARANTINE_SUFFIX)


def own_directories(db: MeteorDatabase, options: IngestOptions) -> list[Path]:
    """Directories whose files are the node's own."""
    store = _local_store(db)
    return [quarantine_path(db, options), *([] if store is None else [store])]


def _local_store(db: MeteorDatabase) -> Path | None:
    return db.store.layout.root if isinstance(db.store, LocalFileStore) else None


def refuse(report: IngestReport, path: Path, error: OSError) -> None:
    """Report what the operating system does not let us read."""
    report.refused.append(Trouble(path, f"it cannot be read: {error.strerror or error}"))
