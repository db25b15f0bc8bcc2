"""Releases side by side: built, migrated to, switched to, and gone back from."""

from __future__ import annotations

import json
import shutil
import stat
import threading
from pathlib import Path

import pytest

from meteorpi_model.errors import ConfigurationError, ConflictError, MeteorError, NotFoundError
from meteorpi_server.deploying.ways import Wish
from tests.deploying.places import WAIT_SECONDS, Place

A, B = "a", "b!"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.contract("K-520", "K-523", "A.14/checkout", "A.14/deploy")
def test_commit_is_brought_into_service(place: Place) -> None:
    sha1 = place.repository.commit("one", [A])
    deployment, said = place.deployment()

    release = deployment.deploy("HEAD", Wish())

    assert (place.served, release.commit) == (sha1, sha1)
    assert (place.log, place.schema) == (["up one", "start one"], [A])
    assert said == ["export", "build", "migrate", "switch", "reload", "wait"]
    assert (place.link / "tree").readlink() == place.root / "trees" / sha1
    assert (place.link / "environment" / "bin" / "python").exists()
    assert f"Commit {sha1}" in (place.link / "meteorpi.toml").read_text()
    version = next((place.link / "tree").glob("meteorpi-*.dist-info")).name
    assert version == f"meteorpi-0+g{sha1[:12]}.dist-info"


@pytest.mark.contract("K-523", "A.14/deploy")
def test_what_is_generated_is_the_owners_alone(place: Place) -> None:
    place.repository.commit("one")
    deployment, _ = place.deployment()
    deployment.deploy("HEAD", Wish())

    modes = {path.name: mode_of(path) for path in place.link.iterdir() if not path.is_symlink()}

    assert modes == {"COMMIT": 0o600, "meteorpi.toml": 0o600, "release.env": 0o600, "meteorpi": 0o700}
    assert mode_of(place.link.resolve()) == 0o700
    assert mode_of(place.root / "deployed" / "deploy-history") == 0o600


@pytest.mark.contract("K-520", "A.14/deploy")
def test_repeating_changes_nothing(place: Place) -> None:
    place.repository.commit("one", [A])
    deployment, said = place.deployment()
    deployment.deploy("HEAD", Wish())
    entries, log = deployment.journal.entries(), place.log
    said.clear()

    deployment.deploy("HEAD", Wish())

    assert (said, place.log, deployment.journal.entries()) == (["done"], log, entries)


@pytest.mark.contract("K-520", "A.14/checkout")
def test_commits_with_the_same_requirements_share_an_environment(place: Place) -> None:
    deployment, said = place.deployment()
    place.repository.commit("one")
    first = deployment.checkout("HEAD")
    place.repository.commit("two")
    second = deployment.checkout("HEAD")
    place.repository.commit("three", **{"requirements.txt": "# something else\n"})
    third = deployment.checkout("HEAD")

    assert first.program.environment == second.program.environment != third.program.environment
    assert len({first.program.tree, second.program.tree, third.program.tree}) == 3
    assert (said.count("export"), said.count("build")) == (3, 2)
    assert not place.link.exists()  # nothing that is served was touched


@pytest.mark.contract("K-520")
@pytest.mark.parametrize(
    "line", ["flask", "flask>=3", "flask # ==3", "flask==3.*", "flask; python_version == '3.13'"]
)
def test_requirements_that_are_not_locked_are_refused(place: Place, line: str) -> None:
    place.repository.commit("one", **{"requirements.txt": f"{line}\n"})
    deployment, _ = place.deployment()

    with pytest.raises(ConfigurationError, match="lock it with =="):
        deployment.deploy("HEAD", Wish())


@pytest.mark.contract("K-520")
@pytest.mark.parametrize("line", ["-r base.txt", "--constraint=base.txt", "-e ."])
def test_requirements_that_another_file_says_are_refused(place: Place, line: str) -> None:
    place.repository.commit("one", **{"requirements.txt": f"{line}\n", "base.txt": "flask==3\n"})
    deployment, _ = place.deployment()

    with pytest.raises(ConfigurationError, match="locked requirements are in one file"):
        deployment.deploy("HEAD", Wish())


def test_new_settings_make_a_release_of_their_own(place: Place) -> None:
    place.repository.commit("one")
    deployment, _ = place.deployment()
    first = deployment.deploy("HEAD", Wish())
    place.settings(remark="changed")

    second = deployment.deploy("HEAD", Wish())

    assert first.name != second.name
    assert "changed" in (place.link / "meteorpi.toml").read_text()
    assert "changed" not in first.program.settings.read_text()


@pytest.mark.contract("K-521", "KD-22")
def test_configuration_is_never_absent_while_releases_change(place: Place) -> None:
    deployment, _ = place.deployment()
    place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    failures: list[OSError] = []
    seen: set[str] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            try:
                seen.add((place.link / "COMMIT").read_text())
                (place.link / "meteorpi.toml").read_text()
            except OSError as error:
                failures.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for name in ("two", "three"):
            place.repository.commit(name, [A, "more"])
            deployment.deploy("HEAD", Wish())
    finally:
        is_over.set()
        watcher.join(WAIT_SECONDS)

    assert failures == []
    assert seen


@pytest.mark.contract("K-521", "KD-22")
def test_release_that_does_not_start_gives_way_to_the_former(place: Place) -> None:
    deployment, said = place.deployment()
    sha1 = place.repository.commit("one", [A])
    former = deployment.deploy("HEAD", Wish())
    place.repository.commit("two", [A, "more"], broken="")

    with pytest.raises(MeteorError, match=f"it does not start; {former.name} is in service again"):
        deployment.deploy("HEAD", Wish())

    assert (place.served, place.link.resolve()) == (sha1, former.folder)
    assert place.schema == [A, "more"]  # which the former bears
    assert place.log[-1] == "start one"
    assert deployment.journal.entries()[-1].event == "switched back"
    assert "back" in said


def test_release_that_does_not_become_ready_gives_way(place: Place) -> None:
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one")
    deployment.deploy("HEAD", Wish())
    place.repository.commit("two", mute="")
    place.instruct(ready_seconds=0.1)
    hasty, _ = place.deployment()

    with pytest.raises(MeteorError, match=r"did not become ready within 0\.1 s: .* answers for nobody"):
        hasty.deploy("HEAD", Wish())

    assert place.served == sha1


def test_release_with_settings_that_it_cannot_read_changes_nothing(place: Place) -> None:
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one")
    deployment.deploy("HEAD", Wish())
    entries = deployment.journal.entries()
    (place.root / "settings.toml").write_text("{")
    place.repository.commit("two")

    with pytest.raises(MeteorError, match="TOMLDecodeError"):
        deployment.deploy("HEAD", Wish())

    assert (place.served, deployment.journal.entries()) == (sha1, entries)


@pytest.mark.contract("K-521")
def test_step_that_is_not_borne_needs_a_stop(place: Place) -> None:
    deployment, _ = place.deployment()
    old = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", [A, B])

    with pytest.raises(ConflictError, match=r"makes 3 \(b!\): --stop ends the service meanwhile"):
        deployment.deploy("HEAD", Wish())

    assert (place.served, place.schema) == (old, [A])
    deployment.deploy("HEAD", Wish(may_stop=True))
    assert (place.served, place.schema) == (new, [A, B])
    assert place.log[-3:] == ["stop one", "up two", "start two"]


@pytest.mark.contract("K-521")
def test_step_that_fails_leaves_the_former_release_in_service(place: Place) -> None:
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    place.settings(broken="up")
    place.repository.commit("two", [A, B])

    with pytest.raises(MeteorError, match=r"this step does not work; .* is in service again"):
        deployment.deploy("HEAD", Wish(may_stop=True))

    assert (place.served, place.schema) == (sha1, [A])
    assert place.log[-3:] == ["stop one", "stop one", "start one"]


@pytest.mark.contract("K-521")
def test_going_back_by_itself_takes_the_schema_along(place: Place) -> None:
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    place.repository.commit("two", [A, B], broken="")

    with pytest.raises(MeteorError, match="is in service again"):
        deployment.deploy("HEAD", Wish(may_stop=True))

    assert (place.served, place.schema) == (sha1, [A])
    assert place.log[-5:] == ["stop one", "up two", "stop two", "down to 2 two", "start one"]


@pytest.mark.contract("K-521")
def test_release_that_was_started_in_vain_is_stopped_again(place: Place) -> None:
    """A service that runs is not started anew: the one that does not become ready would stay."""
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    place.repository.commit("two", [A, B], mute="")
    place.instruct(ready_seconds=0.1)
    hasty, _ = place.deployment()

    with pytest.raises(MeteorError, match="answers for nobody"):
        hasty.deploy("HEAD", Wish(may_stop=True))

    assert (place.served, place.schema) == (sha1, [A])


@pytest.mark.contract("K-522", "A.14/rollback")
def test_rollback_brings_the_former_release_back(place: Place) -> None:
    deployment, said = place.deployment()
    sha1 = place.repository.commit("one", [A])
    first = deployment.deploy("HEAD", Wish())
    place.repository.commit("two", [A, "more"])
    second = deployment.deploy("HEAD", Wish())
    said.clear()

    assert deployment.roll_back(Wish()).name == first.name

    assert (place.served, place.schema) == (sha1, [A, "more"])  # added since, borne, and not given up
    assert said == ["switch", "reload", "wait"]
    assert deployment.roll_back(Wish()).name == second.name


@pytest.mark.contract("K-522", "KD-22", "A.14/rollback")
def test_going_back_uses_the_steps_of_the_newer_release_and_keeps_data(place: Place) -> None:
    deployment, _ = place.deployment()
    old = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", [A, B])
    deployment.deploy("HEAD", Wish(may_stop=True))
    place.add_row(B)

    with pytest.raises(ConflictError, match="takes back 3"):
        deployment.roll_back(Wish())
    with pytest.raises(MeteorError, match="would lose rows"):
        deployment.roll_back(Wish(may_stop=True))

    assert (place.served, place.schema) == (new, [A, B])
    deployment.deploy(old, Wish(may_stop=True, force=True))
    assert (place.served, place.schema) == (old, [A])
    assert place.log[-3:] == ["stop two", "down to 2 forced two", "start one"]


@pytest.mark.contract("K-522", "KD-22")
def test_diverged_branches_meet_where_they_parted(place: Place) -> None:
    """The second branch has fewer commits and the same number of steps: neither says which way to go."""
    deployment, _ = place.deployment()
    base = place.repository.commit("base", [A])
    for name in ("left 1", "left 2"):
        place.repository.commit(name, [A, "left!"])
    left = place.repository.commit("left", [A, "left!"])
    right = place.repository.commit("right", [A, "right!"], onto=base)
    deployment.deploy(left, Wish())

    with pytest.raises(ConflictError, match=r"takes back 3 \(left!\), makes 3 \(right!\)"):
        deployment.deploy(right, Wish())
    deployment.deploy(right, Wish(may_stop=True))

    assert (place.served, place.schema) == (right, [A, "right!"])
    assert place.log[-4:] == ["stop left", "down to 2 left", "up right", "start right"]


@pytest.mark.contract("K-520")
def test_one_deployment_at_a_time(place: Place) -> None:
    place.repository.commit("one")
    first, _ = place.deployment()
    second, _ = place.deployment()

    with first.journal.locked(), pytest.raises(ConflictError, match="another deployment is under way"):
        second.deploy("HEAD", Wish())


def test_another_place_is_switched_by_itself(place: Place) -> None:
    deployment, _ = place.deployment()
    one = place.repository.commit("one")
    deployment.deploy("HEAD", Wish())
    two = place.repository.commit("two")
    beside = [str(place.root / "deployed" / "next" / "meteorpi"), "reload"]
    place.instruct(reload=beside)
    other, _ = place.deployment()

    other.deploy(two, Wish(into="next"))

    assert (place.link / "COMMIT").read_text().strip() == one
    assert (place.root / "deployed" / "next" / "COMMIT").read_text().strip() == two


@pytest.mark.contract("K-523")
def test_preview_changes_nothing(place: Place) -> None:
    sha1 = place.repository.commit("one", [A])

    assert place.preview(sha1, Wish()) == ["export", "build", "migrate", "switch", "reload", "wait"]

    assert not (place.root / "trees").exists()
    assert not (place.root / "deployed").exists()
    deployment, _ = place.deployment()
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", [A, B])
    deployment.checkout("HEAD")
    before = place.link.resolve(), deployment.journal.entries(), place.log
    steps = ["export", "build", "stop", "migrate", "switch", "reload", "wait"]
    assert place.preview(new, Wish()) == steps
    assert before == (place.link.resolve(), deployment.journal.entries(), place.log)


@pytest.mark.parametrize("name", ["../elsewhere", "releases", "deploy-history", ".hidden", ""])
def test_links_have_names_of_their_own(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a place"):
        Wish(into=name)


def test_what_is_not_there_is_named(place: Place) -> None:
    deployment, _ = place.deployment()
    place.repository.commit("one")

    with pytest.raises(NotFoundError, match="no commit nonsense"):
        deployment.deploy("nonsense", Wish())
    with pytest.raises(NotFoundError, match="nothing was in service at current before"):
        deployment.roll_back(Wish())


def test_broken_release_in_service_does_not_hold_up_its_cure(place: Place) -> None:
    deployment, said = place.deployment()
    place.repository.commit("one", [A])
    first = deployment.deploy("HEAD", Wish())
    first.program.settings.write_text("broken")
    cure = place.repository.commit("two", [A, "more"])

    deployment.deploy("HEAD", Wish())

    assert place.served == cure
    assert "note" in said


def test_files_that_were_deleted_are_made_again(place: Place) -> None:
    deployment, _ = place.deployment()
    sha1 = place.repository.commit("one", [A])
    deployment.deploy("HEAD", Wish())
    shutil.rmtree(place.root / "environments")
    shutil.rmtree(place.root / "trees")

    deployment.deploy("HEAD", Wish())

    assert place.log == ["up one", "start one"]  # it was in service all the time
    shutil.rmtree(place.root / "trees")
    shutil.rmtree(place.root / "deployed" / "releases")
    deployment.deploy("HEAD", Wish())
    assert (place.served, place.log[-1]) == (sha1, "start one")


def test_torn_line_of_the_history_is_left_out(place: Place) -> None:
    place.repository.commit("one")
    deployment, _ = place.deployment()
    deployment.deploy("HEAD", Wish())
    history = place.root / "deployed" / "deploy-history"
    whole = deployment.journal.entries()
    history.write_bytes(history.read_bytes() + b'{"time": "2026')

    assert deployment.journal.entries() == whole
    place.repository.commit("two")
    deployment.deploy("HEAD", Wish())
    assert [entry.event for entry in deployment.journal.entries()][-3:] == ["begun", "switched", "done"]
    assert json.loads(history.read_text().splitlines()[-1])["event"] == "done"
