"""``meteorpi schema``: forward and back, and what it says of itself."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.connections import open_database
from meteorpi_db.migrations import SCHEMA, ensure_schema
from tests.cli.conftest import Meteorpi
from tests.older_schemas import schema_of_version


@pytest.fixture
def older(home: Path) -> Path:
    """A database of the release before blocks."""
    path = home / "node.db"
    with closing(open_database(path)) as transactions:
        ensure_schema(transactions, create=True, schema=schema_of_version(2))
    return path


def test_nothing_is_made_by_looking(meteorpi: Meteorpi, home: Path) -> None:
    shown = meteorpi("schema", "current", "--json").json

    assert (shown["version"], shown["newest"]) == (0, SCHEMA.version)
    assert not (home / "node.db").exists()


@pytest.mark.contract("K-522")
def test_schema_goes_up_and_down_again(meteorpi: Meteorpi, older: Path) -> None:
    assert meteorpi("schema", "up", "--json").json["before"] == 2
    assert meteorpi("schema", "up", "--json").json["before"] == SCHEMA.version

    done = meteorpi("schema", "down", "--to", 2, "--json").json

    assert (done["before"], done["version"]) == (SCHEMA.version, 2)
    assert Path(done["backup"]).exists()
    shown = meteorpi("schema", "current", "--json").json
    assert (shown["version"], shown["oldest_for"]) == (2, 1)
    assert [step["version"] for step in shown["steps"]] == list(range(2, SCHEMA.version + 1))
    assert "blocks: accounts" in meteorpi("schema", "current").out


@pytest.mark.contract("K-522")
def test_way_down_is_refused_while_there_is_data(meteorpi: Meteorpi, older: Path) -> None:
    meteorpi("archive", "client", "add", "portal")

    refused = meteorpi("schema", "down", "--to", 1)

    assert (refused.code, refused.out) == (1, "")
    assert "archive_clients 1" in refused.err
    with closing(open_database(older)) as transactions:
        assert [client.name for client in ArchiveRegister(transactions).clients()] == ["portal"]
    assert meteorpi("schema", "down", "--to", 1, "--force").code == 0
    assert meteorpi("schema", "down", "--to", 2).code == 2
