"""What other servers hold, packed from the shell."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

from meteorpi_db import MeteorDatabase
from tests.archive.faulty_source import FaultySource, serving
from tests.cli.conftest import Meteorpi


@pytest.mark.contract("archive-3.20/pack")
def test_urls_are_packed_from_the_shell_as_far_as_they_are_allowed(
    meteorpi: Meteorpi, node: MeteorDatabase, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultySource({f"/{number}.txt": serving(b"x" * number) for number in range(9)}) as server:
        urls = [option for number in range(9) for option in ("--url", server.url(f"/{number}.txt"))]

        refused = meteorpi("archive", "pack", *urls, "-o", "refused.zip")
        monkeypatch.setenv("METEORPI_ARCHIVE_ALLOWED_SOURCES", server.url())
        packed = meteorpi("archive", "pack", *urls, "-o", "packed.zip")

    assert (refused.code, packed.code) == (2, 0)
    assert not (home / "refused.zip").exists()
    with ZipFile(home / "packed.zip") as archive:
        assert archive.testzip() is None
        assert [info.file_size for info in archive.infolist()] == list(range(9))
