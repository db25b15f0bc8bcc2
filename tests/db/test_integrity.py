"""Verification: what it finds, what it mends, what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.filestore.s3 import S3FileStore
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.integrity import ORPHAN_GRACE
from meteorpi_model import now
from meteorpi_model.errors import CorruptContentError
from tests.conftest import OpenDatabase
from tests.db.making import CONTENT, StandingClock, add_file, add_status, stored_ids

pytestmark = pytest.mark.stores("local", "s3")


@pytest.fixture
def clock() -> StandingClock:
    """Far enough ahead for everything stored now to be old, unless a test moves it back."""
    return StandingClock(now() + 2 * ORPHAN_GRACE)


@pytest.fixture
def db(open_database: OpenDatabase, clock: StandingClock) -> MeteorDatabase:
    db = open_database(clock=clock)
    add_status(db)
    return db


def file_id_of(db: MeteorDatabase, minute: float = 0, content: bytes = CONTENT) -> UUID:
    record = add_file(db, minute, content=content)
    assert record.file_id is not None
    return record.file_id


def tear(db: MeteorDatabase, file_id: UUID, content: bytes) -> None:
    """Change bytes behind the back of the node, as a failing disk does."""
    if isinstance(db.store, S3FileStore):
        Bucket(db.store.options).put(db.store.options.key(file_id.hex), content, {})
        return
    path = db.file_path_for_id(file_id)
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.contract("issue-2.3")
def test_what_agrees_is_clean(db: MeteorDatabase) -> None:
    for minute in range(3):
        file_id_of(db, minute)
    seen: list[tuple[int, int]] = []

    report = db.verify(deep=True, repair=True, progress=lambda done, total: seen.append((done, total)))

    assert report.is_clean
    assert report.records == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(stored_ids(db)) == 3


@pytest.mark.contract("issue-2.3", "S-140")
def test_missing_content_is_found_marked_and_recovers_when_it_is_back(db: MeteorDatabase) -> None:
    file_id = file_id_of(db)
    db.store.delete(file_id)

    found = db.verify()
    assert (found.missing, found.is_clean) == ([file_id], False)
    repaired = db.verify(repair=True)
    assert (repaired.missing, repaired.is_clean) == ([file_id], False)
    assert db.has_file_id(file_id)
    with pytest.raises(CorruptContentError):
        db.content_facts(file_id)

    db.store.put(file_id, [CONTENT])
    assert db.verify().recovered == [file_id]
    report = db.verify(repair=True)
    assert (report.recovered, report.is_clean) == ([file_id], True)
    assert b"".join(db.open_content(file_id)) == CONTENT


@pytest.mark.contract("issue-2.3")
def test_content_cut_short_is_found_at_once_and_changed_content_by_reading(db: MeteorDatabase) -> None:
    cut, changed = file_id_of(db, 1, b"to be cut"), file_id_of(db, 2, b"to be changed")
    tear(db, cut, b"to be")
    tear(db, changed, b"to be chanted")

    assert db.verify().torn == [cut]
    report = db.verify(deep=True, repair=True)

    assert (report.torn, report.is_clean) == ([cut, changed], False)
    for file_id in (cut, changed):
        with pytest.raises(CorruptContentError):
            db.open_content(file_id)
    db.bring_content_back(changed, [b"to be changed"])
    assert db.verify(deep=True).torn == [cut]


@pytest.mark.contract("S-140")
def test_damaged_content_is_mended_from_an_equal_one(db: MeteorDatabase) -> None:
    torn, missing, sound = (file_id_of(db, minute) for minute in range(3))
    tear(db, torn, CONTENT[::-1])
    db.store.delete(missing)

    report = db.verify(deep=True, repair=True)

    assert (sorted(report.mended), report.is_clean) == (sorted([torn, missing]), True)
    assert db.verify(deep=True).is_clean
    for file_id in (torn, missing, sound):
        assert b"".join(db.open_content(file_id)) == CONTENT


@pytest.mark.contract("issue-2.3", "S-150")
def test_content_without_record_is_removed_once_it_is_old(db: MeteorDatabase, clock: StandingClock) -> None:
    recorded, orphan = file_id_of(db), uuid4()
    db.store.put(orphan, [CONTENT])

    clock.time = now() + ORPHAN_GRACE - timedelta(minutes=1)
    young = db.verify(repair=True)
    assert (young.waiting, young.orphaned, young.is_clean) == (1, [], True)
    clock.move(minutes=2)
    found = db.verify()
    assert (found.waiting, found.orphaned, found.is_clean) == (0, [orphan], False)
    assert stored_ids(db) == {recorded, orphan}
    assert db.verify(repair=True).is_clean
    assert stored_ids(db) == {recorded}


@pytest.mark.contract("issue-2.3")
@pytest.mark.stores("local")
def test_left_over_temporary_files_are_removed(db: MeteorDatabase) -> None:
    file_id = file_id_of(db)
    left_over = db.file_path_for_id(file_id).with_name(f".incoming-{uuid4().hex}-{uuid4().hex}")
    left_over.write_bytes(b"half a con")

    assert db.verify().is_clean
    assert left_over.exists()
    report = db.verify(repair=True)

    assert (report.temporary, report.is_clean) == (1, True)
    assert not left_over.exists()


def test_file_deleted_while_looking_is_nothing_to_report(
    db: MeteorDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = file_id_of(db)
    stat = db.store.stat

    def delete_first(wanted: UUID) -> object:
        db.delete_file(wanted)
        return stat(wanted)

    monkeypatch.setattr(db.store, "stat", delete_first)

    assert db.verify().is_clean
    assert not db.has_file_id(file_id)


def test_report_is_fit_for_scripts(db: MeteorDatabase) -> None:
    file_id = file_id_of(db)
    db.store.delete(file_id)

    document = db.verify().as_dict()

    assert (document["records"], document["missing"], document["clean"]) == (1, [file_id.hex], False)
