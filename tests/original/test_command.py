"""``import-original``."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.dialects import choice
from meteorpi_server.cli.entry import run
from tests.original import world

pytestmark = pytest.mark.contract("issue-3.5/original")


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on a node below `tmp_path`; the old node is made by `world`."""
    monkeypatch.setenv("METEORPI_INSTALLATION_ID", "demo00000001")
    node = ["--db-path", str(tmp_path / "node.db"), "--file-store", str(tmp_path / "files")]
    return [*node, "import-original", str(tmp_path / "old.fdb"), str(tmp_path / "oldfiles"), "--json"]


def test_command_reports_and_ends_with_1_when_something_is_missing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.make(tmp_path)

    assert run([*arguments, "--dry-run"]) == 1
    looked = json.loads(capsys.readouterr().out)
    assert run(arguments) == 1
    done, complaints = capsys.readouterr()

    assert (looked["files"]["found"], looked["files"]["taken"]) == (12, 0)
    assert json.loads(done)["files"] == {"found": 12, "taken": len(world.GOOD_FILES), "present": 0}
    assert f"files {world.MISSING.hex}: its content is missing" in complaints
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files") as db:
        (entry,) = db.get_audit_log(1)
        assert (entry.action, entry.subject) == ("data.import-original", str(tmp_path / "old.fdb"))


def test_missing_driver_is_named_with_its_cure(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "oldfiles").mkdir()

    def without_fdb(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "fdb" else sys.__spec__

    monkeypatch.setattr(choice, "find_spec", without_fdb)

    assert run(arguments) == 2
    assert "pip install 'meteorpi[firebird]'" in capsys.readouterr().err
