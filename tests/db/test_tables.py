"""What the schema itself forbids, whatever the code above it does."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Table, insert, select

from meteorpi_db import MeteorDatabase, tables
from meteorpi_model.errors import ConflictError
from tests.db.making import CAMERA, add_event, add_export, add_file, add_status, at


@pytest.fixture
def filled(db: MeteorDatabase) -> MeteorDatabase:
    """One record of each kind."""
    add_status(db)
    add_event(db, 1, [add_file(db)])
    db.mark_entities_to_export(add_export(db, "event"))
    db.set_high_water_mark(at(5), CAMERA)
    db.create_or_update_user("ann", "one", None)
    db.create_api_token("ann", "a program")
    return db


@pytest.mark.contract("B-39")
@pytest.mark.parametrize(
    ("table", "identity"),
    [
        (tables.camera_status, "status_id"),
        (tables.file_record, "file_id"),
        (tables.event, "event_id"),
        (tables.export_config, "config_id"),
        (tables.high_water_mark, "camera_id"),
        (tables.user_account, "user_id"),
        (tables.api_token, "secret_sha256"),
    ],
    ids=str,
)
def test_identity_is_stored_once(filled: MeteorDatabase, table: Table, identity: str) -> None:
    local = "id" if "id" in table.c else None
    other_ids = {"token_id": uuid4()} if table is tables.api_token else {}
    with filled.transactions.reading() as connection:
        row = connection.execute(select(table)).mappings().one()
    copy = {name: value for name, value in row.items() if name != local} | other_ids

    with pytest.raises(ConflictError):
        filled.transactions.write(lambda connection: connection.execute(insert(table).values(copy)))

    assert copy[identity] == row[identity]
    with filled.transactions.reading() as connection:
        assert len(connection.execute(select(table)).all()) == 1


@pytest.mark.contract("B-39")
@pytest.mark.engines("sqlite", "postgresql")
def test_entity_has_one_task_for_a_configuration(filled: MeteorDatabase) -> None:
    with filled.transactions.reading() as connection:
        row = connection.execute(select(tables.export_task)).mappings().one()
    copy = {name: value for name, value in row.items() if name != "id"}

    with pytest.raises(ConflictError):
        filled.transactions.write(
            lambda connection: connection.execute(insert(tables.export_task).values(copy))
        )
