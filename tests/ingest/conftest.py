"""Nights for the tests of ingest: a real one where it is at hand, and small synthetic ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_db.testing.night import NightPlan, make_night

SMALL_PLAN = NightPlan(pictures=3, meteors=4, width=320, height=180)


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic night of a few small files; not to be changed."""
    return make_night(tmp_path_factory.mktemp("night"), SMALL_PLAN)


@pytest.fixture
def night(small_night: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic night that the test may change."""
    return Path(shutil.copytree(small_night, tmp_path / "source" / small_night.name))


@pytest.fixture
def real_night(shared_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Call it for a writable copy of the real night, or of those of its files that are named."""

    def copy(*names: str) -> Path:
        target = tmp_path / "source" / "rms-night"
        target.mkdir(parents=True)
        for path in (shared_data / "rms-night").iterdir():
            if not names or path.name in names:
                shutil.copyfile(path, target / path.name)
        return target

    return copy
