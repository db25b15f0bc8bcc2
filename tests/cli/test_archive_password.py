"""Archives under a password, from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from tests.cli.conftest import Meteorpi, add_file

PASSWORD = "Sésame, ouvre-toi!"


@pytest.fixture
def password_file(home: Path) -> Path:
    path = home / "password"
    path.write_text(f"{PASSWORD}\n", encoding="utf-8")
    return path


@pytest.mark.contract("archive-3.16", "archive-3.20/pack")
def test_packed_archive_is_checked_with_its_password(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, password_file: Path
) -> None:
    add_file(node, 1)
    search = json.dumps({"limit": 0})
    password = ("--password-file", password_file)

    packed = meteorpi("archive", "pack", "--search", search, *password, "-o", "a.zip", "--json")
    right = meteorpi("archive", "verify", "a.zip", "--manifest", *password)
    unread = meteorpi("archive", "verify", "a.zip")

    assert packed.json["size"] == (home / "a.zip").stat().st_size
    assert right.code == 0, right.err
    assert unread.code == 1
    assert "under a password" in unread.err


@pytest.mark.contract("archive-3.16", "archive-3.20/ticket")
def test_ticket_shows_nothing_of_its_password(
    meteorpi: Meteorpi, node: MeteorDatabase, password_file: Path
) -> None:
    add_file(node, 1)
    search = json.dumps({"limit": 0})
    options = ("--options", json.dumps({"password_hint": "of the cave"}), "--password-file", password_file)

    made = meteorpi("archive", "ticket", "add", "--search", search, *options, "--json")
    shown = meteorpi("archive", "ticket", "show", made.json["id"], "--json")

    assert shown.json["options"]["password_hint"] == "of the cave"
    assert not any("password" in name and name != "password_hint" for name in shown.json["options"])
    assert "ouvre" not in made.out + made.err + shown.out + shown.err


def test_password_is_no_argument(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    options = json.dumps({"password": PASSWORD})

    done = meteorpi("archive", "pack", "--search", "{}", "--options", options, "-o", "a.zip")

    assert done.code == 2
    assert "--password-file" in done.err
