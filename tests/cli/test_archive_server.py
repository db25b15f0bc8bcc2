"""``meteorpi archive`` for a server without a node: its database, and how it does not start."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_db.connections import open_database
from tests.cli.conftest import Meteorpi


@pytest.mark.contract("archive-3.20/db", "archive-fpx/command-line")
def test_own_database_goes_up_and_down_and_up_again(
    meteorpi: Meteorpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METEORPI_ARCHIVE_DB_URL", f"sqlite:///{tmp_path}/own.db")

    def version() -> int:
        found: int = meteorpi("archive", "db", "current", "--json").json["version"]
        return found

    assert version() == 0
    assert meteorpi("archive", "client", "add", "early").code == 2
    for _ in range(2):
        assert meteorpi("archive", "db", "up").code == 0
        newest = version()
        assert newest > 0
        assert meteorpi("archive", "client", "add", "portal").code == 0
        refused = meteorpi("archive", "db", "down", given="n\n")
        assert (refused.code != 0, version()) == (True, newest)
        assert meteorpi("archive", "db", "down", "--yes").code == 0
        assert version() == 0
        with closing(open_database(tmp_path / "own.db")) as transactions:
            assert inspect(transactions.engine).get_table_names() == []
    assert not (tmp_path / "node.db").exists()
    assert not (tmp_path / "files").exists()


@pytest.mark.contract("archive-3.20/db")
def test_database_with_records_or_accounts_is_not_removed(
    meteorpi: Meteorpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METEORPI_ARCHIVE_DB_URL", f"sqlite:///{tmp_path}/own.db")
    assert meteorpi("archive", "db", "up").code == 0
    with MeteorDatabase(tmp_path / "own.db", tmp_path / "files") as node:
        node.create_or_update_user("ann", "sesame", None)

        done = meteorpi("archive", "db", "down", "--yes")

        assert done.code == 1
        assert "user_account" in done.err
        assert [user.user_id for user in node.get_users()] == ["ann"]


def test_database_url_of_before_leads_to_the_clients_of_the_server(
    meteorpi: Meteorpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "fpx.py"
    config.write_text(f'DB_URL = "sqlite:///{tmp_path}/own.db"\n')
    monkeypatch.setenv("FPX_CONFIG", str(config))

    assert meteorpi("archive", "db", "up").code == 0
    assert meteorpi("archive", "client", "add", "portal").code == 0

    with closing(open_database(tmp_path / "own.db")) as transactions:
        assert [each.name for each in ArchiveRegister(transactions).clients()] == ["portal"]


def test_database_before_the_command_is_that_of_a_node(
    meteorpi: Meteorpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METEORPI_ARCHIVE_DB_URL", f"sqlite:///{tmp_path}/own.db")
    node = tmp_path / "node.db"

    assert meteorpi("--db-path", node, "archive", "db", "up").code == 0
    assert (node.exists(), (tmp_path / "own.db").exists()) == (True, False)
    refused = meteorpi("--db-path", node, "archive", "server", "run")
    assert (refused.code, "--db-url" in refused.err) == (2, True)


@pytest.mark.contract("archive-3.20/server")
@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        (["-P", "many"], {}, "--port"),
        (["-C", "0"], {}, "--chunk_size"),
        (["-C", "inf"], {}, "--chunk_size"),
        ([], {"CHUNK_SIZE": "inf"}, "CHUNK_SIZE: 'inf' is no size"),
        ([], {"DELAY": "-1"}, "DELAY: '-1'"),
        ([], {"FPX_PROT": "1"}, "FPX_PROT. Did you mean FPX_PORT?"),
        ([], {"METEORPI_ARCHIVE_PROT": "1"}, "METEORPI_ARCHIVE_PROT"),
        ([], {"PORT": "many"}, "PORT: 'many'"),
        (["-S", "nowhere", "-P", "0"], {}, "METEORPI_ARCHIVE_STORAGE_PATH: nowhere is no directory"),
        (["-L", "/nowhere/archive.log"], {}, "cannot write the log to /nowhere/archive.log"),
    ],
)
def test_server_does_not_start_with_what_cannot_be_used(
    meteorpi: Meteorpi,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    environ: dict[str, str],
    told: str,
) -> None:
    for name, text in environ.items():
        monkeypatch.setenv(name, text)

    done = meteorpi("archive", "server", "run", *options)

    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err
