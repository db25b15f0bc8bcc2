"""A small, fixed set of cameras, files and events to try searches on, here and through a server.

The names are those that the tests of the first generation used: `CAMERA_1` to `CAMERA_3`, minutes after
2015-04-01 00:00 UTC for times, and letters for events and files. A search result is compared as text::

    helper.seq_to_string(db.search_files(search)["files"]) == "a,b,e0:0"
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from meteorpi_model import CameraStatus, Event, FileRecord, Location, Meta, NSString, Orientation

if TYPE_CHECKING:
    from meteorpi_db import MeteorDatabase

CAMERA_1: Final = "aabbccddeeff"
CAMERA_2: Final = "001122334455"
CAMERA_3: Final = "667788990011"
DUMMY_CONTENT: Final = b"twenty-one bytes long"

_MIDNIGHT: Final = datetime(2015, 4, 1)


def make_time(m: int) -> datetime:
    """The time `m` minutes after 2015-04-01 00:00 UTC."""
    return _MIDNIGHT + timedelta(minutes=m)


def _advance_mark(db: MeteorDatabase, camera: str, time: datetime) -> None:
    db.set_high_water_mark(time=time, camera_id=camera, allow_rollback=False)


def add_dummy_file(
    db: MeteorDatabase,
    camera: str,
    time: datetime,
    meta: int,
    number_meta: float | None = None,
    date_meta: datetime | None = None,
    semantic_type: NSString = NSString("test_file"),  # noqa: B008 (never changed)
) -> FileRecord:
    """Register a text file of 21 bytes.

    Args:
        db: where to.
        camera: its producer.
        time: when it was made; the high water mark is moved there first, never back.
        meta: how many items ``meta_key_i`` = ``meta_value_i`` it gets.
        number_meta: value of ``number_key``, if any.
        date_meta: value of ``date_key``, if any.
        semantic_type: its type.
    """
    _advance_mark(db, camera, time)
    items = [Meta(NSString(f"meta_key_{i}"), f"meta_value_{i}") for i in range(meta)]
    if number_meta is not None:
        items.append(Meta(NSString("number_key"), number_meta))
    if date_meta is not None:
        items.append(Meta(NSString("date_key"), date_meta))
    with tempfile.TemporaryDirectory(prefix="meteorpi-") as directory:
        path = Path(directory, "dummy.txt")
        path.write_bytes(DUMMY_CONTENT)
        return db.register_file(path, "text/plain", semantic_type, time, items, camera)


def add_dummy_event(
    db: MeteorDatabase,
    camera: str,
    time: datetime,
    intensity: float,
    file_records: Sequence[FileRecord] | None = None,
    file_count: int | None = None,
) -> Event:
    """Register an event of type ``omgmeteors``.

    Args:
        db: where to.
        camera: its producer.
        time: when it began; the high water mark is moved there first, never back.
        intensity: value of its metadata ``intensity``.
        file_records: files registered before.
        file_count: how many further files of type ``event_test_file`` are made for it, a second apart.
    """
    _advance_mark(db, camera, time)
    records = list(file_records or ())
    for number in range(file_count or 0):
        moment = time + timedelta(seconds=number)
        records.append(
            add_dummy_file(db, camera, moment, meta=number, semantic_type=NSString("event_test_file"))
        )
    metas = [
        Meta(NSString("intensity"), intensity),
        Meta(NSString("file_count"), len(records)),
        Meta(NSString("camera_id"), camera),
    ]
    return db.register_event(camera, time, NSString("omgmeteors"), records, metas)


def add_dummy_status(
    db: MeteorDatabase,
    camera: str,
    time: datetime,
    region_size: float = 100,
    longitude: float = 20,
    latitude: float = 30,
    gps: bool = True,
    location_error: float = 1.0,
    altitude: float = 0.5,
    azimuth: float = 0.6,
    orientation_error: float = 0.7,
    orientation_rotation: float = 1.0,
    width_of_field: float = 80.0,
) -> None:
    """Give a camera a status from `time` on, with two triangular regions `region_size` pixels wide."""
    status = CameraStatus(
        lens="a_lens",
        sensor="a_sensor",
        inst_url="http://foo.bar.com",
        inst_name="test installation",
        orientation=Orientation(altitude, azimuth, orientation_error, orientation_rotation, width_of_field),
        location=Location(latitude, longitude, gps, location_error),
        camera_id=camera,
    )
    size = region_size
    status.add_region([0, 0, size, 0, 0, size])
    status.add_region([size, 0, size, size, 0, size])
    db.update_camera_status(status, time=time, camera_id=camera)


class DummyDataHelper:
    """Names for what was made, so that results can be compared as text.

    Attributes:
        files, events: name by hex id.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.events: dict[str, str] = {}

    def add_file(self, record: FileRecord, name: str) -> FileRecord:
        """Call `record` by `name` from now on."""
        self.files[_hex(record.file_id)] = name
        return record

    def add_event(self, event: Event, name: str) -> Event:
        """Call `event` by `name`, and its unnamed files by ``name:0``, ``name:1`` and so on."""
        self.events[_hex(event.event_id)] = name
        for number, record in enumerate(event.file_records):
            self.files.setdefault(_hex(record.file_id), f"{name}:{number}")
        return event

    def seq_to_string(self, items: Iterable[FileRecord | Event]) -> str:
        """The names of `items`, sorted, with commas between."""
        return ",".join(sorted(self._name(item) for item in items))

    def seq_to_string_no_sort(self, items: Iterable[FileRecord | Event]) -> str:
        """The names of `items` in their order, with commas between."""
        return ",".join(self._name(item) for item in items)

    def _name(self, item: FileRecord | Event) -> str:
        if isinstance(item, Event):
            return self.events[_hex(item.event_id)]
        return self.files[_hex(item.file_id)]


def _hex(entity_id: UUID | None) -> str:
    return "" if entity_id is None else entity_id.hex


def setup_dummy_data(db: MeteorDatabase, clear: bool = False) -> DummyDataHelper:
    """Build the standard set.

    ======= ======= ================================================================================
    camera  minutes what
    ======= ======= ================================================================================
    1       1       status at 30 N 20 E;  30: status at 40 N 21 E
    2       1       status at 51 N 0 E
    3       1       status at 10 S 70 W
    1       2 to 14 files ``a`` to ``e``, 3 minutes apart, with 0 to 4 items of metadata;
                    ``number_key`` is the number of the file, ``date_key`` its time
    2       4 to 10 files ``f`` to ``h``, likewise
    1       16, 40  events ``e0`` (intensity 0.5, two files), ``e1`` (intensity 2.5, one file)
    2       20      event ``e2`` (intensity 1.5) over file ``h``
    3       25      event ``e3`` (intensity 4) without files
    ======= ======= ================================================================================

    Args:
        db: where to; these cameras must have no later data.
        clear: empty the database first.

    Returns:
        The names of everything made.
    """
    if clear:
        db.clear_database()
    helper = DummyDataHelper()
    add_dummy_status(db, CAMERA_1, make_time(1))
    add_dummy_status(db, CAMERA_2, make_time(1), longitude=0, latitude=51)
    add_dummy_status(db, CAMERA_3, make_time(1), longitude=-70, latitude=-10)
    _add_files(db, helper, CAMERA_1, 2, "abcde")
    last = _add_files(db, helper, CAMERA_2, 4, "fgh")
    helper.add_event(add_dummy_event(db, CAMERA_1, make_time(16), 0.5, file_count=2), "e0")
    helper.add_event(add_dummy_event(db, CAMERA_2, make_time(20), 1.5, [last]), "e2")
    helper.add_event(add_dummy_event(db, CAMERA_3, make_time(25), 4), "e3")
    add_dummy_status(db, CAMERA_1, make_time(30), latitude=40, longitude=21)
    helper.add_event(add_dummy_event(db, CAMERA_1, make_time(40), 2.5, file_count=1), "e1")
    return helper


def _add_files(
    db: MeteorDatabase, helper: DummyDataHelper, camera: str, first_minute: int, names: str
) -> FileRecord:
    """Files three minutes apart; gives the last one."""
    record = None
    for number, name in enumerate(names):
        time = make_time(first_minute + 3 * number)
        record = add_dummy_file(db, camera, time, meta=number, number_meta=number, date_meta=time)
        helper.add_file(record, name)
    assert record is not None
    return record
