"""What deployments are made of: the direction of the schema, readiness, instructions, environments."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError, MeteorError
from meteorpi_server.deploying.commands import run
from meteorpi_server.deploying.direction import History, Way, way_to
from meteorpi_server.deploying.instructions import read_instructions
from meteorpi_server.deploying.readiness import wait_until_ready
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from tests.deploying.places import Place


def knowing(*steps: str, version: int) -> History:
    """A release that knows steps, those with ``!`` not tolerated, beside a database of a version."""
    numbered = [
        {"version": number, "description": step, "tolerated": not step.endswith("!")}
        for number, step in enumerate(steps, 2)
    ]
    said = {"version": version, "oldest_for": version, "newest": 1 + len(steps), "steps": numbered}
    return History.from_json(json.dumps(said))


@pytest.mark.contract("K-522", "KD-22")
@pytest.mark.parametrize(
    ("version", "owner", "target", "way"),
    [
        (0, ("a",), ("a",), Way(up_to=2)),
        (2, ("a",), ("a",), Way()),
        (2, ("a",), ("a", "b"), Way(up_to=3)),
        (3, ("a", "b!"), ("a",), Way(down_to=2)),
        (3, ("a", "b"), ("a",), Way()),  # borne
        (4, ("a", "b", "c!"), ("a",), Way(down_to=3)),  # no further than needed
        (4, ("a", "b!", "c"), ("a",), Way(down_to=2)),
        (3, ("a", "b"), ("a", "x"), Way(down_to=2, up_to=3)),
        (3, ("a", "b", "c"), ("a", "b", "x"), Way(up_to=4)),  # the owner's c was never made
        (2, ("a", "b", "c"), ("a", "x"), Way(up_to=3)),
    ],
)
def test_way_follows_the_histories(
    version: int, owner: tuple[str, ...], target: tuple[str, ...], way: Way
) -> None:
    found = way_to(knowing(*target, version=version), knowing(*owner, version=version), None)

    assert found == way


@pytest.mark.contract("K-521")
@pytest.mark.parametrize(
    ("version", "owner", "target", "running", "objections"),
    [
        (2, ("a",), ("a", "b"), ("a",), ()),
        (2, ("a",), ("a", "b", "c!"), ("a",), ("makes 4 (c!)",)),
        (3, ("a", "b"), ("a", "x"), ("a",), ()),  # what goes, the release in service does not know
        (3, ("a", "b"), ("a", "x!"), ("a", "b"), ("takes back 3 (b)", "makes 3 (x!)")),
        (3, ("a", "b!"), ("a",), ("a", "b!"), ("takes back 3 (b!)",)),
    ],
)
def test_release_in_service_objects_to_what_it_does_not_bear(
    version: int,
    owner: tuple[str, ...],
    target: tuple[str, ...],
    running: tuple[str, ...],
    objections: tuple[str, ...],
) -> None:
    found = way_to(*(knowing(*steps, version=version) for steps in (target, owner, running)))

    assert found.objections == objections


def test_schema_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="schema version 5, which no release here has made"):
        way_to(knowing("a", version=5), knowing("a", version=5), None)
    with pytest.raises(MeteorError, match="does not say which steps"):
        History.from_json("Usage: meteorpi [OPTIONS]")


@pytest.mark.contract("K-521")
def test_readiness_is_waited_for_and_the_old_release_not_taken_for_the_new(place: Place) -> None:
    answers: Iterator[str | None] = iter([None, "old", "new"])
    running = place.root / "running"

    def next_state(_seconds: float) -> None:
        state = next(answers)
        if state is not None:
            running.write_text(state)

    wait_until_ready(place.ready, "new", 60, monotonic=lambda: 0, sleep=next_state)

    assert next(answers, "none left") == "none left"
    clock = iter([0.0, 5.0, 10.0])
    with pytest.raises(MeteorError, match=r"other did not become ready within 10 s: .* for new"):
        wait_until_ready(place.ready, "other", 10, monotonic=lambda: next(clock), sleep=lambda _seconds: None)
    with pytest.raises(MeteorError, match="does not answer as it should: ConnectionError"):
        wait_until_ready("http://127.0.0.1:1/ready", "new", 0)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"ready": None}, "lacks ready"),
        ({"reload": 'sh -c "'}, "No closing quotation"),
        ({"reload": [1]}, "reload must be a command"),
        ({"ready_seconds": 0}, "must be a number of seconds"),
        ({"settings": 3}, "settings must be a text"),
        ({"settings": "qabel.yaml"}, "settings must be a configuration file of a node"),
        ({"setting": "x"}, "setting is no instruction"),
    ],
)
def test_instructions_that_cannot_be_read_are_named(
    place: Place, changed: dict[str, object], complaint: str
) -> None:
    place.instruct(**changed)

    with pytest.raises(ConfigurationError, match=complaint):
        read_instructions(place.root)


def test_missing_instructions_and_programs_are_named(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="it says how to deploy"):
        read_instructions(place.root / "elsewhere")
    with pytest.raises(ConfigurationError, match="cannot run no-such-program"):
        run(["no-such-program"])
    place.instruct(reload="systemctl reload 'my service'")
    assert read_instructions(place.root).reload == ("systemctl", "reload", "my service")


@pytest.mark.contract("K-520")
def test_locked_requirements_are_installed(place: Place, tmp_path: Path) -> None:
    """With pip, out of a directory: nothing is asked of the network."""
    info = "small-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"small.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    text = f"--no-index\n--find-links {tmp_path}\nsmall==1.0  # locked\n"
    place.repository.commit("one", **{"requirements.txt": text})

    release = place.deployment()[0].checkout("HEAD")

    assert list(release.program.environment.glob("lib/python*/site-packages/small.py"))


def test_node_and_blocks_name_the_release_that_runs(tmp_path: Path) -> None:
    settings = dataclasses.replace(Settings(), routes=("node", "block"), release="1a2b")
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files") as db:
        meteor_app = make_meteor_app(db, settings)
        with meteor_app.upkeep:
            client = meteor_app.app.test_client()
            answers = [client.get(path) for path in ("/ready", "/api/v0/ready")]

    assert [(answer.status_code, answer.json["release"]) for answer in answers] == [(200, "1a2b")] * 2  # type: ignore[index]  # JSON has been looked at
