"""File records: registration, reading back, contents."""

from __future__ import annotations

import hashlib
import math
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.filestore import LocalFileStore
from meteorpi_model import FileRecord, FileRecordSearch, Meta, NSString
from meteorpi_model.errors import (
    ConflictError,
    CorruptContentError,
    NotFoundError,
    StoreFullError,
    UnavailableError,
)
from tests.conftest import OpenDatabase
from tests.db.making import CAMERA, CONTENT, add_file, add_status, at, new_file, register, stored_ids

pytestmark = pytest.mark.stores("local", "s3")


@pytest.mark.contract(
    "4.1/register_file",
    "4.1/get_file",
    "4.1/file_path_for_id",
    "S-110",
    "B-14",
    "3.4/str",
    "3.4/accessors",
    "B-04",
)
@pytest.mark.stores("local")
def test_registered_file_is_moved_into_the_store_and_read_back_the_same(
    db: MeteorDatabase, tmp_path: Path
) -> None:
    status = add_status(db)
    source = tmp_path / "capture.png"

    record = register(db, source, file_name="näme ☄.png")

    assert record.file_id is not None
    assert record == db.get_file(record.file_id)
    assert str(record) == str(db.get_file(record.file_id))
    assert (record.file_name, record.status_id, record.file_size) == (
        "näme ☄.png", status.status_id, len(CONTENT),
    )  # fmt: skip
    assert record.md5 == hashlib.md5(CONTENT).hexdigest()
    assert record.get_path() == db.file_path_for_id(record.file_id) == tmp_path / "files" / record.file_id.hex
    assert record.get_path().read_bytes() == CONTENT  # type: ignore[union-attr]
    assert not source.exists()


@pytest.mark.contract("S-152", "issue-2.3")
def test_three_digests_are_recorded(db: MeteorDatabase) -> None:
    add_status(db)

    facts = db.content_facts(add_file(db).file_id)  # type: ignore[arg-type]

    assert facts.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (facts.size, facts.crc32) == (len(CONTENT), zlib.crc32(CONTENT))


@pytest.mark.contract("4.1/register_file")
def test_missing_file_is_a_value_error(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)

    with pytest.raises(ValueError, match="no file"):
        db.register_file(tmp_path / "none", "image/png", NSString("frame"), at(0), [], CAMERA)


@pytest.mark.contract("4.1/register_file")
@pytest.mark.parametrize("minute", [-61, -1e6])
def test_file_before_the_first_status_stays_where_it_is(
    db: MeteorDatabase, tmp_path: Path, minute: float
) -> None:
    add_status(db)
    source = tmp_path / "capture.png"

    with pytest.raises(ValueError, match="no status"):
        register(db, source, minute)

    assert source.read_bytes() == CONTENT
    assert stored_ids(db) == set()


@pytest.mark.contract("4.1/register_file", "faults/input")
def test_file_of_an_unknown_camera_is_a_value_error(db: MeteorDatabase) -> None:
    add_status(db)

    with pytest.raises(ValueError, match="no status"):
        add_file(db, camera=CAMERA + " ")
    assert stored_ids(db) == set()


@pytest.mark.contract("4.1/register_file", "4.4/other", "4.1/has_file_id")
def test_registration_behind_the_mark_is_allowed_and_leaves_it(db: MeteorDatabase) -> None:
    add_status(db)
    db.set_high_water_mark(at(100), CAMERA)

    record = add_file(db, 5)

    assert db.get_high_water_mark(CAMERA) == at(100)
    assert db.has_file_id(record.file_id)  # type: ignore[arg-type]


@pytest.mark.contract("4.1/register_file")
def test_record_belongs_to_the_status_in_force(db: MeteorDatabase) -> None:
    first = add_status(db, minute=-60)
    second = add_status(db, minute=10)

    assert add_file(db, 9).status_id == first.status_id
    assert add_file(db, 10).status_id == second.status_id
    assert add_file(db, 11).status_id == second.status_id


@pytest.mark.contract("4.1/has_file_id", "4.1/get_file")
def test_unknown_ids_are_not_held(db: MeteorDatabase) -> None:
    assert not db.has_file_id(uuid4())
    assert db.get_file(uuid4()) is None
    with pytest.raises(ValueError, match="UUID"):
        db.get_file("a3949199e2df41a0bff500985dc2c93e")  # type: ignore[arg-type]


@pytest.mark.contract("4.1/get_file", "B-17", "B-04")
def test_metadata_comes_back_in_order_and_unchanged(db: MeteorDatabase) -> None:
    add_status(db)
    metas = [
        Meta(NSString("z"), "tëxt\n☄ \U0001f30c  "),
        Meta(NSString("a", "other"), ""),
        Meta(NSString("i"), 2**53),
        Meta(NSString("i"), -5),
        Meta(NSString("f"), 0.1 + 0.2),
        Meta(NSString("f"), 5e-324),
        Meta(NSString("d"), datetime(1965, 2, 3, 4, 5, 6, 789000)),
        Meta(NSString("long"), "x" * 4096),
    ]

    record = add_file(db, 0, *metas)

    found = db.get_file(record.file_id)  # type: ignore[arg-type]
    assert found is not None
    assert found.meta == record.meta == metas
    assert [type(item.value) for item in found.meta] == [type(item.value) for item in metas]


@pytest.mark.contract("B-01", "4.1/register_file", "2.1/forms")
def test_aware_times_and_fine_fractions_come_back_as_utc_milliseconds(db: MeteorDatabase) -> None:
    add_status(db)
    moment = datetime(2015, 4, 1, 23, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    new = new_file(0, Meta(NSString("d"), moment))
    aware = type(new)(**(vars(new) | {"file_time": moment}))

    record = db.add_file(aware, [CONTENT])

    assert record.file_time == moment.astimezone(UTC).replace(tzinfo=None, microsecond=123000)
    assert record == db.get_file(record.file_id)  # type: ignore[arg-type]


@pytest.mark.contract("B-07", "B-41", "faults/input")
@pytest.mark.parametrize(
    "value",
    [None, [1], b"bytes", math.nan, math.inf, 2**53 + 1, 10**400, "a\x00b", "\ud800", "x" * 4097],
    ids=str,
)
def test_values_that_cannot_be_kept_are_refused_and_nothing_is_stored(
    db: MeteorDatabase, value: object
) -> None:
    add_status(db)

    with pytest.raises(ValueError, match="meteorpi:bad"):
        add_file(db, 0, Meta(NSString("fine"), 1), Meta(NSString("bad"), value))  # type: ignore[arg-type]

    assert stored_ids(db) == set()
    assert db.search_files(FileRecordSearch())["count"] == 0


@pytest.mark.contract("B-41", "faults/names", "faults/input", "2.2/use", "0/camera-id")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("camera_id", ""),
        ("camera_id", "x" * 65),
        ("camera_id", 7),
        ("mime_type", ""),
        ("mime_type", "x" * 256),
        ("mime_type", "a\x00b"),
        ("file_name", "x" * 256),
        ("file_name", "a\x00b"),
        ("file_name", "\udfff"),
        ("semantic_type", NSString("x" * 256)),
        ("semantic_type", "meteorpi:frame"),
        ("file_time", None),
        ("file_time", 1427846400000),
    ],
)
def test_members_that_cannot_be_kept_are_named_in_the_error(
    db: MeteorDatabase, name: str, value: object
) -> None:
    add_status(db)
    new = new_file()

    with pytest.raises(ValueError, match=name):
        db.add_file(type(new)(**(vars(new) | {name: value})), [CONTENT])


@pytest.mark.contract("faults/names", "B-41")
@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "tab\tnewline\n", "x" * 255, "", " blank "])
def test_any_other_name_is_only_a_name(db: MeteorDatabase, name: str) -> None:
    add_status(db)
    new = new_file()

    record = db.add_file(type(new)(**(vars(new) | {"file_name": name})), [CONTENT])

    assert db.get_file(record.file_id).file_name == name  # type: ignore[arg-type, union-attr]
    assert record.file_id is not None
    with db.store.local_path(record.file_id) as path:
        assert path.read_bytes() == CONTENT
    if isinstance(db.store, LocalFileStore):
        assert record.get_path() == db.file_path_for_id(record.file_id)


@pytest.mark.contract("S-110")
@pytest.mark.stores("s3")
def test_a_store_without_paths_names_the_other_way(db: MeteorDatabase) -> None:
    add_status(db)
    record = add_file(db)
    assert record.file_id is not None

    with pytest.raises(UnavailableError, match="local_path"):
        db.file_path_for_id(record.file_id)


def test_file_added_twice_under_one_id_is_one_file(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)
    source = tmp_path / "capture.png"
    source.write_bytes(CONTENT)
    file_id = uuid4()

    first = db.add_file(new_file(1), source, file_id)
    again = db.add_file(new_file(2), source, file_id, move=True)

    assert again == first
    assert not source.exists()
    assert db.search_files(FileRecordSearch())["count"] == 1


def test_other_content_under_a_held_id_is_a_conflict(db: MeteorDatabase) -> None:
    add_status(db)
    file_id = uuid4()
    first = add_file(db, file_id=file_id)

    with pytest.raises(ConflictError):
        add_file(db, content=b"something else", file_id=file_id)

    assert b"".join(db.open_content(file_id)) == CONTENT
    assert db.get_file(file_id) == first


def test_copied_source_stays(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)
    source = tmp_path / "capture.png"
    source.write_bytes(CONTENT)

    record = db.add_file(new_file(), source)
    source.write_bytes(b"changed later")

    assert b"".join(db.open_content(record.file_id)) == CONTENT  # type: ignore[arg-type]


def test_many_files_are_registered_in_one_go_or_not_at_all(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)
    sources = [tmp_path / f"capture{number}.png" for number in range(3)]
    for number, source in enumerate(sources):
        source.write_bytes(CONTENT + bytes([number]))
    items = [(new_file(number), source, None) for number, source in enumerate(sources)]

    with pytest.raises(ValueError, match="no status"):
        db.register_many([*items, (new_file(camera="unknown"), sources[0], None)])
    assert stored_ids(db) == set()

    records = db.register_many(items)
    assert [db.get_file(record.file_id) for record in records] == records  # type: ignore[arg-type]
    assert all(source.exists() for source in sources)


def test_content_is_read_in_ranges(db: MeteorDatabase) -> None:
    add_status(db)
    file_id = add_file(db).file_id
    assert file_id is not None

    with db.open_content(file_id, 5, 8) as chunks:
        assert b"".join(chunks) == CONTENT[5:8]
    with pytest.raises(NotFoundError):
        db.open_content(uuid4())


@pytest.mark.contract("S-140", "issue-5.1")
def test_corrupt_content_is_not_served_until_it_is_back(db: MeteorDatabase) -> None:
    add_status(db)
    file_id = add_file(db).file_id
    assert file_id is not None

    db.mark_corrupt(file_id)
    with pytest.raises(CorruptContentError):
        db.open_content(file_id)
    assert db.count_entities()["corrupt_files"] == 1

    db.bring_content_back(file_id, [CONTENT])
    assert b"".join(db.open_content(file_id)) == CONTENT
    assert db.count_entities()["corrupt_files"] == 0


@pytest.mark.contract("S-140", "issue-5.1")
def test_missing_content_of_a_record_is_corrupt_and_not_unknown(db: MeteorDatabase) -> None:
    add_status(db)
    file_id = add_file(db).file_id
    assert file_id is not None
    db.store.delete(file_id)

    with pytest.raises(CorruptContentError):
        db.open_content(file_id)


@pytest.mark.contract("S-153")
def test_deleting_a_file_spares_an_equal_one(db: MeteorDatabase) -> None:
    add_status(db)
    first, second = add_file(db), add_file(db)
    assert first.file_id is not None
    assert second.file_id is not None

    report = db.delete_file(first.file_id)

    assert (report.files, report.size_bytes) == (1, len(CONTENT))
    assert stored_ids(db) == {second.file_id}
    assert db.get_file(first.file_id) is None
    assert b"".join(db.open_content(second.file_id)) == CONTENT
    assert not db.delete_file(first.file_id)


@pytest.mark.contract("faults/full-disk", "4.1/register_file")
def test_store_without_room_leaves_the_file_where_it_is(open_database: OpenDatabase, tmp_path: Path) -> None:
    db = open_database(file_store_path="memory:?limit=10")
    add_status(db)
    source = tmp_path / "capture.png"

    with pytest.raises(StoreFullError):
        register(db, source)

    assert source.read_bytes() == CONTENT
    assert db.search_files(FileRecordSearch())["count"] == 0


def test_records_copy_their_content(db: MeteorDatabase, tmp_path: Path) -> None:
    add_status(db)

    assert add_file(db).download_to(tmp_path / "copy.png").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.glob("*copy*")] == ["copy.png"]


@pytest.mark.contract("B-23")
def test_what_is_read_belongs_to_the_reader(db: MeteorDatabase) -> None:
    add_status(db)
    record: FileRecord = add_file(db, 0, Meta(NSString("n"), 1))
    assert record.file_id is not None
    found = db.get_file(record.file_id)
    assert found is not None

    found.meta.clear()
    found.file_name = "changed"

    assert db.get_file(record.file_id) == record
