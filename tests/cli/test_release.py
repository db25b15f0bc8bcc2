"""``meteorpi release``: what its commands take and say; tests/deploying has what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Meteorpi
from tests.deploying.places import Place, opened_place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened_place(tmp_path / "place") as opened:
        yield opened


@pytest.mark.contract("K-520", "K-523", "A.14/deploy")
def test_commands_do_it_all(place: Place, meteorpi: Meteorpi) -> None:
    first = place.repository.commit("one", ["a"])
    root = ("--root", place.root)
    assert meteorpi("release", "checkout", *root, "--json").json["commit"] == first
    planned = meteorpi("release", "deploy", "--dry-run", *root, "--json").rows
    assert [row["step"] for row in planned] == ["export", "build", "migrate", "switch", "reload", "wait"]
    assert not (place.root / "running").exists()
    assert meteorpi("release", "deploy", *root).code == 0
    second = place.repository.commit("two", ["a", "b!"])

    refused = meteorpi("release", "deploy", "-c", "main", *root)
    assert (refused.code, place.served) == (1, first)
    assert "--stop" in refused.err
    assert meteorpi("release", "deploy", "-c", second, "--stop", *root, "--json").json["commit"] == second
    assert meteorpi("release", "rollback", "--dry-run", "--stop", *root, "--json").rows[0]["step"] == "stop"
    assert meteorpi("release", "rollback", "--stop", *root).code == 0

    assert place.served == first
    events = [row["event"] for row in meteorpi("release", "history", *root, "--json").rows]
    assert events.count("done") == 3
    assert meteorpi("release", "deploy", "-c", "nonsense", *root).code == 5
