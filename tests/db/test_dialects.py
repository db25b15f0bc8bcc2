"""What every engine has to do alike: keep values, compare text, number rows, refuse what breaks a rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    MetaData,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
)

from meteorpi_db import tables
from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import (
    Amount,
    ConstraintError,
    DuplicateKeyError,
    ExactText,
    HexDigest,
    Identifier,
    LongText,
    RowId,
    in_chunks,
    insert_ignore,
    refresh_statistics,
)
from meteorpi_db.migrations import Schema, ensure_schema
from meteorpi_model.errors import InvalidDocumentError
from tests.db import workers

metadata = MetaData()
thing = Table(
    "thing",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("thing_id", Identifier, unique=True),
    Column("name", ExactText(64)),
    Column("amount", Amount),
    Column("big", BigInteger),
    Column("flag", Boolean(create_constraint=False)),
    Column("digest", HexDigest(32)),
    Column("story", LongText),
)
camera = Table("camera", metadata, Column("camera_id", ExactText(64), primary_key=True))
part = Table(
    "part",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("camera_id", ExactText(64), ForeignKey("camera.camera_id"), nullable=False),
    Column("position", BigInteger, nullable=False),  # a word that some engines reserve
    Index("ix_part_camera", "camera_id", "position"),
)
SMALL = Schema(metadata)

# Any text but surrogates, which are not characters, and NUL, which is refused.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=64)
AWKWARD = ["a", "a ", "A", " a", "", " ", "a\t", "a\x01", "a!", "é", "e\u0301", "z", "\ufffd", "\U0001f600"]


@pytest.fixture
def database(bare_database: str) -> Iterator[Transactions]:
    with closing(workers.open_plainly(bare_database)) as opened:
        ensure_schema(opened, create=True, schema=SMALL)
        yield opened


def store(database: Transactions, **values: Any) -> int:
    statement = insert(thing).values(**values).returning(thing.c.id)
    return int(database.write(lambda found: found.execute(statement).scalar_one()))


def stored(database: Transactions, row_id: int) -> Any:
    with database.reading() as connection:
        return connection.execute(select(thing).where(thing.c.id == row_id)).one()


# --- values ------------------------------------------------------------------------------------------


@pytest.mark.contract("B-17", "B-04")
def test_values_come_back_as_they_went_in(database: Transactions) -> None:
    values: dict[str, Any] = {
        "thing_id": UUID("a3949199-e2df-41a0-bff5-00985dc2c900"),
        "name": "Sternenstädt 🌠 ",
        "amount": 0.1 + 0.2,
        "big": 2**63 - 1,
        "flag": True,
        "digest": "0" * 31 + "f",
        "story": "line\r\nline\t" + "ü" * 200_000,
    }

    assert stored(database, store(database, **values))._mapping.items() >= values.items()


def test_null_comes_back_as_none(database: Transactions) -> None:
    row = stored(database, store(database, name=None))

    assert tuple(row)[1:] == (None,) * (len(row) - 1)


@pytest.mark.parametrize(
    "number",
    [
        0.0,
        1 / 3,
        -1e-300,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        123456789.123456789,
        2.0**53,
    ],
)
@pytest.mark.contract("B-17")
def test_floats_keep_all_their_bits(database: Transactions, number: float) -> None:
    row_id = store(database, amount=number)

    assert stored(database, row_id).amount == number
    with database.reading() as connection:
        assert connection.execute(select(thing.c.id).where(thing.c.amount == number)).scalar() == row_id


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_refused(database: Transactions, number: float) -> None:
    with pytest.raises(InvalidDocumentError, match="finite"):
        store(database, amount=number)


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 1_700_000_000_000, 2**63 - 1])
def test_whole_numbers_keep_64_bits(database: Transactions, number: int) -> None:
    assert stored(database, store(database, big=number)).big == number


def test_number_beyond_64_bits_is_refused(database: Transactions) -> None:
    with pytest.raises(InvalidDocumentError):
        store(database, big=2**63)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.contract("B-17")
def test_booleans_are_booleans(database: Transactions, flag: bool) -> None:
    found = stored(database, store(database, flag=flag)).flag

    assert found is flag


def test_uuids_are_found_by_value(database: Transactions) -> None:
    ids = [UUID(int=0), UUID(int=32), UUID(int=2**128 - 1), uuid4()]
    for thing_id in ids:
        store(database, thing_id=thing_id)

    with database.reading() as connection:
        found = connection.execute(select(thing.c.thing_id).where(thing.c.thing_id.in_(ids))).scalars()
        assert set(found) == set(ids)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, st.floats(allow_nan=False, allow_infinity=False)), max_size=5))
def test_any_text_and_number_survives(database: Transactions, rows: list[tuple[str, float]]) -> None:
    def operation(connection: Connection) -> None:
        connection.execute(delete(thing))
        for name, amount in rows:
            connection.execute(insert(thing).values(name=name, amount=amount))

    database.write(operation)

    with database.reading() as connection:
        found = connection.execute(select(thing.c.name, thing.c.amount).order_by(thing.c.id)).all()
    assert [tuple(row) for row in found] == rows


# --- text is compared exactly ------------------------------------------------------------------------


@pytest.mark.contract("0/camera-id", "B-16")
def test_camera_ids_that_differ_at_all_are_different(database: Transactions) -> None:
    def operation(connection: Connection) -> None:
        for camera_id in AWKWARD:
            connection.execute(insert(camera).values(camera_id=camera_id))
            connection.execute(insert(part).values(camera_id=camera_id, position=1))

    database.write(operation)

    with database.reading() as connection:
        for camera_id in AWKWARD:
            same = select(camera.c.camera_id).where(camera.c.camera_id == camera_id)
            assert connection.execute(same).scalars().all() == [camera_id]
            listed = select(camera.c.camera_id).where(camera.c.camera_id.in_([camera_id, "none"]))
            assert connection.execute(listed).scalars().all() == [camera_id]
        joined = select(func.count()).select_from(camera.join(part))
        assert connection.execute(joined).scalar_one() == len(AWKWARD)
        groups = select(part.c.camera_id).group_by(part.c.camera_id)
        assert len(connection.execute(groups).all()) == len(AWKWARD)
        assert len(connection.execute(select(part.c.camera_id).distinct()).all()) == len(AWKWARD)


@pytest.mark.contract("4.3/get_cameras")
def test_text_is_ordered_by_code_point(database: Transactions) -> None:
    def operation(connection: Connection) -> None:
        for name in AWKWARD:
            connection.execute(insert(camera).values(camera_id=name))
            connection.execute(insert(thing).values(name=name))

    database.write(operation)

    with database.reading() as connection:
        for column in (camera.c.camera_id, thing.c.name):  # with an index and without
            up = connection.execute(select(column).order_by(column)).scalars().all()
            down = connection.execute(select(column).order_by(column.desc())).scalars().all()
            assert up == sorted(AWKWARD)
            assert down == sorted(AWKWARD, reverse=True)


@pytest.mark.contract("B-41")
@pytest.mark.parametrize("name", ["x" * 65, "🌠" * 65])
def test_text_that_is_too_long_is_refused(database: Transactions, name: str) -> None:
    with pytest.raises(InvalidDocumentError, match="65 characters where 64 are allowed"):
        store(database, name=name)


def test_text_of_full_length_fits_in_any_script(database: Transactions) -> None:
    assert stored(database, store(database, name="🌠" * 64)).name == "🌠" * 64


@pytest.mark.parametrize("values", [{"name": "a\x00b"}, {"story": "a\x00b"}])
def test_text_with_nul_is_refused(database: Transactions, values: dict[str, str]) -> None:
    with pytest.raises(InvalidDocumentError, match="NUL"):
        store(database, **values)


NUMBERS = (
    *("latitude", "longitude", "location_error"),
    *("altitude", "azimuth", "rotation", "orientation_error", "width_of_field"),
)
STATUS: dict[str, Any] = {
    "id": 1,
    "status_id": UUID(int=1),
    "camera_id": "🌠" * tables.CAMERA_ID_LENGTH,
    "valid_from": 0,
    "software_version": 1,
    "lens": "🌠" * tables.NAME_LENGTH,
    "sensor": "🌠" * tables.NAME_LENGTH,
    "inst_url": "🌠" * tables.NAME_LENGTH,
    "inst_name": "🌠" * tables.NAME_LENGTH,
    "gps": True,
    "regions": "[]",
    **dict.fromkeys(NUMBERS, 0.1),
}
RECORD: dict[str, Any] = {
    "id": 1,
    "file_id": UUID(int=2),
    "camera_id": "🌠" * tables.CAMERA_ID_LENGTH,
    "file_time": 1,
    "time_offset": 1,
    "status_pk": 1,
    "mime_type": "🌠" * tables.NAME_LENGTH,
    "semantic_type": "🌠" * tables.TYPE_LENGTH,
    "file_size": 1,
    "md5": "0" * 32,
    "sha256": "0" * 64,
    "crc32": 1,
    "registered_at": 1,
}
ITEM: dict[str, Any] = {
    "owner_pk": 1,
    "position": 0,
    "meta_key": "🌠" * tables.TYPE_LENGTH,
    "entity_time": 1,
    "string_head": "🌠" * tables.STRING_HEAD_LENGTH,
    "string_value": "🌠" * tables.TEXT_LENGTH,
}


@pytest.mark.contract("B-41")
def test_longest_texts_fit_their_columns_and_indices(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions, create=True)

        def operation(connection: Connection) -> None:
            connection.execute(insert(tables.camera_status).values(**STATUS))
            connection.execute(insert(tables.file_record).values(**RECORD))
            connection.execute(insert(tables.file_meta).values(**ITEM))

        transactions.write(operation)

        with transactions.reading() as connection:
            found = connection.execute(select(tables.file_meta.c.string_value)).scalar_one()
            assert found == ITEM["string_value"]


# --- rows --------------------------------------------------------------------------------------------


def test_insert_gives_growing_row_ids(database: Transactions) -> None:
    ids = [store(database, name=str(number)) for number in range(5)]
    primary_key = database.write(
        lambda found: found.execute(insert(thing).values(name="x")).inserted_primary_key
    )

    assert primary_key is not None
    assert ids == sorted(set(ids))
    assert primary_key[0] > ids[-1]


def test_many_rows_go_in_at_once(database: Transactions) -> None:
    rows = [{"name": str(number), "flag": number % 2 == 0} for number in range(1000)]

    database.write(lambda found: found.execute(insert(thing), rows))

    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(thing)).scalar_one() == 1000
        flagged = select(func.count()).select_from(thing).where(thing.c.flag.is_(True))
        assert connection.execute(flagged).scalar_one() == 500


def test_pages_are_cut_anywhere(database: Transactions) -> None:
    database.write(lambda found: found.execute(insert(thing), [{"big": number} for number in range(20)]))

    with database.reading() as connection:
        ordered = select(thing.c.big).order_by(thing.c.big)
        for skip, limit in [(0, 5), (5, 5), (18, 5), (20, 5), (0, None), (3, None), (None, 4)]:
            statement = ordered.limit(limit).offset(skip)
            start = skip or 0
            stop = 20 if limit is None else min(20, start + limit)
            assert connection.execute(statement).scalars().all() == list(range(start, stop))


def test_lists_are_cut_to_what_one_statement_takes(database: Transactions) -> None:
    numbers = list(range(70_000))
    database.write(lambda found: found.execute(insert(thing), [{"big": 1}, {"big": 69_999}]))

    with database.reading() as connection:
        chunks = list(in_chunks(connection, numbers))
        found = [
            number
            for chunk in chunks
            for number in connection.execute(select(thing.c.big).where(thing.c.big.in_(chunk))).scalars()
        ]
    assert [number for chunk in chunks for number in chunk] == numbers
    assert found == [1, 69_999]


def test_empty_list_matches_nothing(database: Transactions) -> None:
    store(database, big=1)

    with database.reading() as connection:
        assert connection.execute(select(thing.c.id).where(thing.c.big.in_([]))).all() == []
        assert list(in_chunks(connection, [])) == []


def test_update_and_delete_count_their_rows(database: Transactions) -> None:
    database.write(lambda found: found.execute(insert(thing), [{"big": 1}, {"big": 1}, {"big": 2}]))

    updated = database.write(
        lambda found: found.execute(thing.update().where(thing.c.big == 1).values(flag=True)).rowcount
    )
    deleted = database.write(lambda found: found.execute(delete(thing).where(thing.c.big > 0)).rowcount)

    assert (updated, deleted) == (2, 3)


def test_savepoint_undoes_its_part_only(database: Transactions) -> None:
    def operation(connection: Connection) -> None:
        connection.execute(insert(thing).values(big=1))
        savepoint = connection.begin_nested()
        connection.execute(insert(thing).values(big=2))
        savepoint.rollback()

    database.write(operation)

    with database.reading() as connection:
        assert connection.execute(select(thing.c.big)).scalars().all() == [1]


# --- rules -------------------------------------------------------------------------------------------


def test_insert_ignore_says_whether_the_row_is_new(database: Transactions) -> None:
    first, second = uuid4(), uuid4()

    def operation(connection: Connection) -> list[bool]:
        return [
            insert_ignore(connection, thing, {"thing_id": first, "big": 1}),
            insert_ignore(connection, thing, {"thing_id": first, "big": 2}),
            insert_ignore(connection, thing, {"thing_id": second, "big": 3}),
        ]

    answers = database.write(operation)

    with database.reading() as connection:
        kept = connection.execute(select(thing.c.big).order_by(thing.c.big)).scalars().all()
    assert answers == [True, False, True]
    assert kept == [1, 3]


@pytest.mark.engines("firebird", "firebird-embedded", "postgresql")
def test_insert_ignore_sees_a_row_committed_meanwhile(database: Transactions, bare_database: str) -> None:
    thing_id = uuid4()
    answers: list[bool] = []

    with closing(workers.open_plainly(bare_database)) as other:

        def operation(connection: Connection) -> None:
            connection.execute(select(thing.c.id)).all()  # fixes the state that this transaction sees
            if not answers:
                other.write(lambda found: insert_ignore(found, thing, {"thing_id": thing_id, "big": 1}))
            answers.append(insert_ignore(connection, thing, {"thing_id": thing_id, "big": 2}))
            assert connection.execute(select(thing.c.big)).scalars().all() == [1]

        database.write(operation)

    assert answers[-1] is False


def test_insert_ignore_does_not_hide_other_mistakes(database: Transactions) -> None:
    with pytest.raises(ConstraintError):
        database.write(lambda found: insert_ignore(found, part, {"camera_id": "unknown", "position": 1}))


def test_duplicate_key_is_told_from_other_rules(database: Transactions) -> None:
    thing_id = uuid4()
    store(database, thing_id=thing_id)

    with pytest.raises(DuplicateKeyError):
        store(database, thing_id=thing_id)
    with pytest.raises(ConstraintError) as error:
        database.write(lambda found: found.execute(insert(part).values(camera_id="unknown", position=1)))
    assert not isinstance(error.value, DuplicateKeyError)


def test_missing_value_breaks_a_rule(database: Transactions) -> None:
    with pytest.raises(ConstraintError):
        database.write(lambda found: found.execute(insert(entry_without_author())))


def entry_without_author() -> Table:
    """`part` as a table that does not know its column may not be empty."""
    return Table("part", MetaData(), Column("id", RowId, primary_key=True), Column("position", BigInteger))


def test_statistics_are_refreshed(database: Transactions) -> None:
    database.write(lambda found: found.execute(insert(thing), [{"big": number} for number in range(500)]))

    database.write(refresh_statistics)

    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(thing)).scalar_one() == 500


# --- Firebird's indices ------------------------------------------------------------------------------


@pytest.mark.engines("firebird", "firebird-embedded")
def test_index_is_made_in_each_direction_asked_for(database: Transactions) -> None:
    with database.reading() as connection:
        directions = {
            index["name"]: index["dialect_options"]["firebird_descending"]
            for index in inspect(connection).get_indexes("part")
        }

    assert directions == {"ix_part_camera": False, "ix_part_camera_d": True}


@pytest.mark.engines("firebird-embedded")
def test_names_fit_firebird_3(bare_database: str) -> None:
    with closing(workers.open_plainly(bare_database)) as transactions:
        ensure_schema(transactions)
        with transactions.reading() as connection:
            names = connection.execute(text("SELECT TRIM(rdb$index_name) FROM rdb$indices")).scalars().all()
            assert all(len(name) <= 31 for name in names)
            page_size = connection.execute(text("SELECT mon$page_size FROM mon$database")).scalar_one()
            assert page_size == 16384
