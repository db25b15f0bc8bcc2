"""Section 1 of the contract: the import lines that published programs use."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

NAMES = {
    "meteorpi_model": (
        "now utc_datetime_to_milliseconds milliseconds_to_utc_datetime get_day_and_offset get_md5_hash"
        " ModelEqualityMixin NSString User FileRecordSearch EventSearch MetaConstraint Event FileRecord Meta"
        " ExportConfiguration Location Orientation CameraStatus"
    ),
    "meteorpi_db": "MeteorDatabase SOFTWARE_VERSION FileExportTask EventExportTask",
    "meteorpi_db.exporter": "MeteorExporter FileExportTask EventExportTask",
    "meteorpi_db.generators": "MeteorDatabaseGenerators first_from_generator first_non_null",
    "meteorpi_db.sql_builder": "SQLBuilder search_files_sql_builder search_events_sql_builder",
    "meteorpi_db.testing.dummy_data": (
        "CAMERA_1 CAMERA_2 CAMERA_3 make_time add_dummy_file add_dummy_event add_dummy_status"
        " DummyDataHelper setup_dummy_data"
    ),
    "meteorpi_server": "MeteorApp MeteorServer admin_api importer_api query_api",
    "meteorpi_server.admin_api": "add_routes",
    "meteorpi_server.query_api": "add_routes",
    "meteorpi_server.importer_api": (
        "add_routes BaseImportReceiver MeteorDatabaseImportReceiver ImportRequest"
    ),
    "meteorpi_client": "MeteorClient",
}


@pytest.mark.contract(
    "1/model",
    "1/db",
    "1/exporter",
    "1/generators",
    "1/sql_builder",
    "1/testing",
    "1/server",
    "1/importer",
    "1/client",
    "0.1/imports",
)
@pytest.mark.parametrize("module", NAMES)
def test_published_names_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)

    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.contract("1/db", "1/exporter")
def test_published_constants_and_nested_classes_are_there() -> None:
    import meteorpi_db
    from meteorpi_db import exporter

    assert meteorpi_db.SOFTWARE_VERSION == 1
    assert inspect.isclass(exporter.MeteorExporter.ExportStateCache)


@pytest.mark.contract("1/model", "1/client")
@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        (
            "meteorpi_model",
            ["flask", "sqlalchemy", "requests", "meteorpi_db", "meteorpi_client", "meteorpi_server"],
        ),
        ("meteorpi_client", ["flask", "sqlalchemy", "meteorpi_db", "meteorpi_server"]),
    ],
)
def test_package_loads_nothing_that_its_users_do_not_need(package: str, unwanted: list[str]) -> None:
    program = f"import sys, {package}; print(*sorted(sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert set(loaded.split()) & set(unwanted) == set()
