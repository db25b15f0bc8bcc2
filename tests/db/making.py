"""Records for the tests of `MeteorDatabase`: statuses, files, events, and a clock that stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from meteorpi_db import MeteorDatabase, NewFile
from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    ExportConfiguration,
    FileRecord,
    FileRecordSearch,
    Location,
    Meta,
    NSString,
    Orientation,
)

CAMERA = "camera one"
OTHER_CAMERA = "camera two"
START = datetime(2015, 4, 1, 20)
CONTENT = b"what the camera saw"


class StandingClock:
    """A clock that stands until it is moved."""

    def __init__(self, time: datetime = datetime(2020, 1, 1)) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time

    def move(self, **interval: float) -> None:
        self.time += timedelta(**interval)


def at(minute: float) -> datetime:
    """So many minutes after `START`."""
    return START + timedelta(minutes=minute)


def status_of(latitude: float = 52.0, longitude: float = 0.1, **changes: object) -> CameraStatus:
    status = CameraStatus(
        lens="lens",
        sensor="sensor",
        inst_url=None,
        inst_name="station",
        orientation=Orientation(45.0, 180.0, 1.0, 3.5, 30.0),
        location=Location(latitude, longitude, True, 2.0),
        camera_id="not used",
    )
    for name, value in changes.items():
        setattr(status, name, value)
    return status


def add_status(
    db: MeteorDatabase, camera: str = CAMERA, minute: float = -60, **changes: float
) -> CameraStatus:
    db.update_camera_status(status_of(**changes), at(minute), camera)
    found = db.get_camera_status(at(minute), camera)
    assert found is not None
    return found


def new_file(minute: float = 0, *metas: Meta, camera: str = CAMERA, mime: str = "image/png") -> NewFile:
    return NewFile(
        mime_type=mime,
        semantic_type=NSString("frame"),
        file_time=at(minute),
        metas=metas,
        camera_id=camera,
        file_name=f"frame {minute}.png",
    )


def add_file(
    db: MeteorDatabase,
    minute: float = 0,
    *metas: Meta,
    camera: str = CAMERA,
    content: bytes = CONTENT,
    file_id: UUID | None = None,
) -> FileRecord:
    return db.add_file(new_file(minute, *metas, camera=camera), [content], file_id)


def register(db: MeteorDatabase, path: Path, minute: float = 0, **options: object) -> FileRecord:
    """Register a file of the disk, as a camera does."""
    path.write_bytes(CONTENT)
    return db.register_file(
        path,
        "image/png",
        NSString("frame"),
        at(minute),
        [Meta(NSString("n"), 1)],
        CAMERA,
        **options,  # type: ignore[arg-type]
    )


def add_event(
    db: MeteorDatabase, minute: float = 0, records: Sequence[FileRecord] = (), camera: str = CAMERA
) -> Event:
    return db.register_event(
        camera, at(minute), NSString("meteor"), records, [Meta(NSString("duration"), 1.5)]
    )


def imported_event(status_id: UUID, minute: float = 0, files: int = 1) -> Event:
    """An event as another node sends it."""
    records = []
    for number in range(files):
        record = FileRecord("far camera", "image/png", NSString("frame"), status_id, f"far {number}.png")
        record.file_id = uuid4()
        record.file_time = at(minute)
        record.file_size = len(CONTENT)
        record.meta = [Meta(NSString("n"), number)]
        records.append(record)
    return Event("far camera", at(minute), uuid4(), NSString("meteor"), status_id, records)


def add_export(db: MeteorDatabase, kind: str = "file", **changes: object) -> ExportConfiguration:
    search = FileRecordSearch(limit=0) if kind == "file" else EventSearch(limit=0)
    config = ExportConfiguration(
        "https://hub.example/import", "station", "secret ☄", search, "hub", "to the hub", enabled=True
    )
    for name, value in changes.items():
        setattr(config, name, value)
    return db.create_or_update_export_configuration(config)


def stored_ids(db: MeteorDatabase) -> set[UUID]:
    return set(db.store.ids())


def ids_of(items: Sequence[FileRecord] | Sequence[Event]) -> list[UUID | None]:
    return [item.event_id if isinstance(item, Event) else item.file_id for item in items]
