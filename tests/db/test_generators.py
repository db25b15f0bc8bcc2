"""Lazy iteration by the names of the first generation, and what replaced its caches."""

from __future__ import annotations

import pytest
from sqlalchemy import Select

from meteorpi_db import MeteorDatabase
from meteorpi_db.generators import first_from_generator, first_non_null
from meteorpi_db.sql_builder import FILES, SQLBuilder, search_events_sql_builder, search_files_sql_builder
from meteorpi_model import EventSearch, FileRecordSearch, Meta, MetaConstraint, NSString
from tests.db.making import CAMERA, OTHER_CAMERA, add_event, add_export, add_file, add_status, at


@pytest.mark.contract("4.9/generators", "4.11/iteration")
def test_everything_can_be_iterated_over(db: MeteorDatabase) -> None:
    statuses = [add_status(db), add_status(db, OTHER_CAMERA)]
    records = [add_file(db, minute) for minute in range(3)]
    events = [add_event(db, minute, records[:minute]) for minute in range(3)]
    config = add_export(db)

    assert list(db.generators.file_generator()) == records[::-1]
    assert list(db.generators.file_generator(FileRecordSearch(limit=1))) == records[:1:-1]
    assert list(db.generators.event_generator()) == events[::-1]
    assert list(db.generators.event_generator(EventSearch(after=at(0), limit=0))) == events[:0:-1]
    assert list(db.generators.camera_status_generator()) == statuses[::-1]
    assert list(db.generators.camera_status_generator(CAMERA)) == statuses[:1]
    assert list(db.generators.export_configuration_generator()) == [config]


@pytest.mark.contract("4.9/generators")
def test_generators_stay_valid_while_the_database_object_does_other_work(db: MeteorDatabase) -> None:
    add_status(db)
    records = [add_file(db, minute) for minute in range(3)]
    found, again = db.generators.file_generator(), db.generators.file_generator()

    assert next(found) == records[2]
    assert next(again) == records[2]
    db.delete_file(records[2].file_id)  # type: ignore[arg-type]
    add_event(db, 1, records[:1])

    assert list(again) == list(found) == records[1::-1]


@pytest.mark.contract("4.9/caches", "B-23")
def test_caches_keep_their_names_and_nothing_else(db: MeteorDatabase) -> None:
    assert set(db.generators.cache_info()) == {"status", "event", "file", "export"}
    for name, info in db.generators.cache_info().items():
        assert info.currsize == 0
        db.generators.cache_clear(name)
    with pytest.raises(ValueError, match="unknown cache"):
        db.generators.cache_clear("user")


@pytest.mark.contract("4.11/first")
def test_first_of_something_or_nothing() -> None:
    assert first_from_generator(iter([3, 4])) == 3
    assert first_from_generator(iter([])) is None
    assert first_non_null([None, 0, 1]) == 0
    with pytest.raises(ValueError, match="None"):
        first_non_null([None, None])


@pytest.mark.contract("4.11/builders", "B-09")
def test_builders_give_statements_whose_values_are_bound(db: MeteorDatabase) -> None:
    add_status(db)
    wanted = add_file(db, 1, Meta(NSString("n"), 1))
    add_file(db, 2)
    builder = search_files_sql_builder(
        FileRecordSearch(
            camera_ids="camera one",
            after=at(0),
            meta_constraints=[MetaConstraint("less", NSString("n"), 1)],
        )
    )

    select, count = builder.get_select_sql([FILES.entity_id], limit=5), builder.get_count_sql()

    assert isinstance(select, Select)
    assert "camera one" not in str(select)
    assert len(builder.where_clauses) == 3
    with db.transactions.reading() as connection:
        assert connection.execute(select).scalars().all() == [wanted.file_id]
        assert connection.execute(count).scalar_one() == 1


@pytest.mark.contract("4.11/builders")
def test_builder_takes_conditions_by_value_and_passes_over_none() -> None:
    builder = SQLBuilder(FILES)

    builder.add_sql(None, lambda value: FILES.time > value)
    builder.add_set_membership(None, FILES.table.c.camera_id)
    builder.add_exact(None, FILES.type)
    builder.add_metadata_query_properties([], "file")
    assert builder.where_clauses == []
    builder.add_sql(5, lambda value: FILES.time > value)
    builder.add_set_membership(["b", "a"], FILES.table.c.camera_id)
    assert len(builder.where_clauses) == 2
    assert SQLBuilder.map_value(NSString("a", "b")) == "b:a"
    assert SQLBuilder.map_value(at(0)) == 1427918400000
    assert SQLBuilder.map_value("text") == "text"
    with pytest.raises(ValueError, match="search for files"):
        builder.add_metadata_query_properties([], "event")
    assert search_events_sql_builder(EventSearch()).where_clauses == []
