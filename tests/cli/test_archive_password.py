"""Archives under a password, from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from tests.cli.conftest import Meteorpi, add_file

PASSWORD = "Sésame, ouvre-toi!"


@pytest.mark.contract("archive-3.16", "archive-3.20/verify", "archive-3.20/pack")
def test_packed_archive_is_checked_with_its_password(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path
) -> None:
    add_file(node, 1)
    options = json.dumps({"password": PASSWORD})
    search = json.dumps({"limit": 0})

    packed = meteorpi("archive", "pack", "--search", search, "--options", options, "-o", "a.zip", "--json")
    right = meteorpi(
        "archive", "verify", "a.zip", "--manifest", "--password-file", "-", given=f"{PASSWORD}\n"
    )
    unread = meteorpi("archive", "verify", "a.zip")

    assert packed.json["size"] == (home / "a.zip").stat().st_size
    assert right.code == 0, right.err
    assert unread.code == 1
    assert "under a password" in unread.err


@pytest.mark.contract("archive-3.16", "archive-3.20/ticket")
def test_ticket_shows_nothing_of_its_password(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_file(node, 1)
    options = json.dumps({"password": PASSWORD, "password_hint": "of the cave"})

    search = json.dumps({"limit": 0})
    made = meteorpi("archive", "ticket", "add", "--search", search, "--options", options, "--json")
    shown = meteorpi("archive", "ticket", "show", made.json["id"], "--json")

    assert shown.json["options"]["password_hint"] == "of the cave"
    assert not any("password" in name and name != "password_hint" for name in shown.json["options"])
    assert "ouvre" not in made.out + made.err + shown.out + shown.err
