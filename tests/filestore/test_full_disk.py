"""A real file system that really is full: a small tmpfs in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.components import absent
from tests.filestore.full_disk import MEBIBYTE, SIZE_MEBIBYTES


def own_namespace() -> list[str]:
    """The command that gives a program a mount namespace, with the rights to mount in it."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        absent(f"no mount namespace can be had here: {error}")
    return command


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    """What a process saw that filled its disk in every way."""
    places = tmp_path_factory.mktemp("full")
    (places / "mount").mkdir()
    script = [sys.executable, "-m", "tests.filestore.full_disk"]
    done = subprocess.run(
        [*own_namespace(), *script, places / "mount", places / "capture"],
        check=True,
        capture_output=True,
        cwd=repository,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.contract("S-105", "S-106", "faults/full-disk")
def test_full_disk_is_reported_as_such_and_leaves_nothing(seen: dict[str, Any]) -> None:
    assert (seen["fits"], seen["put"], seen["left over"]) == ("stored", "StoreFullError", [])
    assert seen["kept"] == 2 * MEBIBYTE


@pytest.mark.contract("S-126")
def test_file_of_another_file_system_stays_until_it_is_copied(seen: dict[str, Any]) -> None:
    assert seen["move from another file system"] == "StoreFullError"
    assert seen["capture"] == (SIZE_MEBIBYTES + 2) * MEBIBYTE
    assert (seen["small capture"], seen["small capture moved"]) == ("stored", True)


@pytest.mark.contract("faults/full-disk")
def test_resumable_write_goes_on_when_room_was_made(seen: dict[str, Any]) -> None:
    assert seen["parts"] == "StoreFullError"
    assert 0 < seen["offset"] < SIZE_MEBIBYTES * MEBIBYTE
    assert (seen["resumed after room was made"], seen["finished"]) == ("stored", "stored")
    assert seen["content is right"] is True


@pytest.mark.contract("S-106")
def test_probe_of_a_full_store_says_that_it_is_unavailable(seen: dict[str, Any]) -> None:
    assert seen["probe of a full store"] == "UnavailableError"
