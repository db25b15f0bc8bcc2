"""The walks that keep searches fast: each engine serves them from one index, without sorting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Select, and_, insert, select, text

from meteorpi_db.connections import Transactions
from meteorpi_db.dialects import refresh_statistics
from meteorpi_db.migrations import ensure_schema
from meteorpi_db.tables import camera_status, export_task, file_meta, file_record
from tests.db import workers
from tests.engines import Engine

RECORDS = 2000
CAMERAS = 200
PAGE = 100

BY_CAMERA = (
    select(file_record.c.file_time, file_record.c.id)
    .where(file_record.c.camera_id == "camera 3", file_record.c.file_time < 1500)
    .order_by(file_record.c.file_time.desc(), file_record.c.id.desc())
    .limit(PAGE)
)
BY_TIME = (
    select(file_record.c.file_time, file_record.c.id)
    .order_by(file_record.c.file_time.desc(), file_record.c.id.desc())
    .limit(PAGE)
)
BY_STATUS_AND_NIGHT = (
    select(file_record.c.file_time, file_record.c.id)
    .where(and_(file_record.c.status_pk == 4, file_record.c.time_offset + 0 > 100))
    .order_by(file_record.c.file_time.desc(), file_record.c.id.desc())
    .limit(PAGE)
)
BY_TEXT = (
    select(file_meta.c.entity_time, file_meta.c.owner_pk)
    .where(file_meta.c.meta_key == "meteorpi:sky", file_meta.c.string_head == "clear")
    .order_by(file_meta.c.entity_time.desc(), file_meta.c.owner_pk.desc())
    .limit(PAGE)
)
BY_NUMBER = (
    select(file_meta.c.entity_time, file_meta.c.owner_pk)
    .where(file_meta.c.meta_key == "meteorpi:magnitude", file_meta.c.number_value == 7.0)
    .order_by(file_meta.c.entity_time.desc(), file_meta.c.owner_pk.desc())
    .limit(PAGE)
)
STATUS_IN_FORCE = (
    select(camera_status.c.id)
    .where(camera_status.c.camera_id == "camera 3", camera_status.c.valid_from <= 5)
    .order_by(camera_status.c.valid_from.desc(), camera_status.c.id.desc())
    .limit(1)
)
NEXT_TASK = (
    select(export_task.c.id)
    .where(export_task.c.config_pk == 1, export_task.c.state == 1, export_task.c.due_at <= 5)
    .order_by(export_task.c.due_at, export_task.c.failures, export_task.c.id)
    .limit(1)
)


@pytest.fixture(scope="module")
def filled(engine: Engine) -> Iterator[Transactions]:
    name = engine.new_name()
    engine.create(name)
    with closing(workers.open_plainly(engine.db_path(name))) as transactions:
        ensure_schema(transactions, create=True)
        transactions.write(fill)
        transactions.write(refresh_statistics)
        yield transactions
    engine.drop(name)


def fill(connection: Connection) -> None:
    for number in range(1, CAMERAS + 1):
        connection.execute(insert(camera_status).values(status_row(number)))
    connection.execute(insert(file_record), [file_row(number) for number in range(1, RECORDS + 1)])
    connection.execute(
        insert(file_meta), [row for number in range(1, RECORDS + 1) for row in meta_rows(number)]
    )


def status_row(number: int) -> dict[str, Any]:
    numbers = (
        *("latitude", "longitude", "location_error"),
        *("altitude", "azimuth", "rotation", "orientation_error", "width_of_field"),
    )
    return {
        "id": number,
        "status_id": UUID(int=number),
        "camera_id": f"camera {number}",
        "valid_from": 0,
        "software_version": 1,
        "lens": "lens",
        "sensor": "sensor",
        "gps": True,
        "regions": "[]",
        **dict.fromkeys(numbers, float(number)),
    }


def file_row(number: int) -> dict[str, Any]:
    camera = number % CAMERAS + 1
    return {
        "id": number,
        "file_id": uuid4(),
        "camera_id": f"camera {camera}",
        "file_time": number,
        "time_offset": number % 1000,
        "status_pk": camera,
        "mime_type": "image/png",
        "semantic_type": "meteorpi:picture",
        "file_size": 1,
        "md5": "0" * 32,
        "sha256": "0" * 64,
        "crc32": 1,
        "registered_at": 1,
        "is_corrupt": False,
    }


def meta_rows(number: int) -> Iterator[dict[str, Any]]:
    common = {"owner_pk": number, "entity_time": number, "is_repeat": False, "is_integer": False}
    sky = "clear" if number % 3 else "cloud"
    yield common | {
        "position": 0,
        "meta_key": "meteorpi:sky",
        "string_head": sky,
        "string_value": sky,
        "number_value": None,
    }
    yield common | {
        "position": 1,
        "meta_key": "meteorpi:magnitude",
        "string_head": None,
        "string_value": None,
        "number_value": float(number % 20),
    }


def plan_of(connection: Connection, statement: Select[Any]) -> str:
    """How the engine will run `statement`, in its own words."""
    name = connection.dialect.name
    if name == "firebird":
        with closing(connection.execute(statement)) as result:
            return str(getattr(result.cursor, "plan", "")).lower()
    if name == "postgresql":
        # With so few rows a scan is cheaper; whether the index can serve is what counts.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_sort = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
    literal = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if name == "sqlite" else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{explain} {literal}").all()
    return "\n".join(str(row[-1]) for row in rows).lower()


@pytest.mark.contract("B-39")
@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (BY_TIME, "ix_file_time"),
        (BY_CAMERA, "ix_file_camera"),
        (BY_STATUS_AND_NIGHT, "ix_file_status"),
        (BY_TEXT, "ix_file_meta_string"),
        (BY_NUMBER, "ix_file_meta_number"),
        (STATUS_IN_FORCE, "ix_status_camera"),
        (NEXT_TASK, "ix_task_queue"),
    ],
)
def test_page_is_a_walk_along_one_index(filled: Transactions, statement: Select[Any], index: str) -> None:
    with filled.reading() as connection:
        plan = plan_of(connection, statement)

    assert index in plan
    assert "sort" not in plan
    assert "temp b-tree" not in plan


@pytest.mark.contract("B-39")
def test_page_holds_the_newest(filled: Transactions) -> None:
    with filled.reading() as connection:
        rows = connection.execute(BY_CAMERA).all()

    assert [row.id for row in rows] == [number for number in range(1499, 0, -1) if number % CAMERAS == 2][
        :PAGE
    ]
