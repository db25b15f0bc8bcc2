"""A deployment that is killed, anywhere: something complete stays linked, and the next run ends it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from meteorpi_server.deploying.ways import Wish
from tests.deploying.places import Place

MOMENTS = ["before stop", "after up", "after start"]


@pytest.mark.contract("K-520", "K-521", "KD-22")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_deployment_is_gone_on_with(place: Place, moment: str) -> None:
    deployment, _ = place.deployment()
    place.repository.commit("one", ["a"])
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", ["a", "b!"])
    place.kill_at(moment)

    assert place.deploy_in_process(new, stop=True) == -signal.SIGKILL

    assert not (place.root / "kill").exists()
    assert (place.link / "COMMIT").exists()
    assert (place.link / "tree" / "name").exists()
    deployment.deploy("HEAD", Wish(may_stop=True))
    assert (place.served, place.schema, place.log[-1]) == (new, ["a", "b!"], "start two")
    assert place.log.count("up two") == 1
    assert deployment.journal.is_finished("current", deployment.checkout("HEAD").name)


@pytest.mark.contract("K-522")
def test_killed_deployment_can_be_given_up_for_the_former_release(place: Place) -> None:
    deployment, _ = place.deployment()
    old = place.repository.commit("one", ["a"])
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", ["a", "b!"])
    place.kill_at("after up")
    assert place.deploy_in_process(new, stop=True) == -signal.SIGKILL
    assert (place.served, place.schema) == (None, ["a", "b!"])

    deployment.deploy(old, Wish())

    assert (place.served, place.schema) == (old, ["a"])
    assert place.log[-2:] == ["down to 2 two", "start one"]


@pytest.mark.contract("K-521")
def test_after_a_kill_a_release_that_fails_gives_way_to_the_one_before(place: Place) -> None:
    """The link leads to the new release already: it is not what to go back to."""
    deployment, _ = place.deployment()
    old = place.repository.commit("one", ["a"])
    deployment.deploy("HEAD", Wish())
    new = place.repository.commit("two", ["a", "more"])
    place.kill_at("before start")
    assert place.deploy_in_process(new) == -signal.SIGKILL
    assert (place.link / "COMMIT").read_text().strip() == new
    (place.link / "tree" / "broken").touch()

    with pytest.raises(Exception, match="is in service again"):
        deployment.deploy("HEAD", Wish())

    assert place.served == old


@pytest.mark.contract("K-520")
def test_environment_that_was_cut_off_is_made_again(place: Place, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nmkdir -p "$4/bin"\nrm "$0"\nexec {sys.executable} -c "{KILLER}"\n')
    interpreter.chmod(0o755)
    place.instruct(python=str(interpreter))
    new = place.repository.commit("one")

    assert place.deploy_in_process(new) == -signal.SIGKILL

    (environment,) = (place.root / "environments").iterdir()
    assert not (environment / ".complete").exists()
    interpreter.symlink_to(sys.executable)
    place.deployment()[0].deploy("HEAD", Wish())
    assert place.served == new


KILLER = f"import os; os.kill(os.getppid(), {signal.SIGKILL:d})"


def test_what_killed_exports_left_is_removed(place: Place) -> None:
    sha1 = place.repository.commit("one")
    for folder in ("trees", "deployed/releases"):
        left = place.root / folder / ".draft-left"
        left.mkdir(parents=True)
        (left / "half").touch()

    place.deployment()[0].deploy("HEAD", Wish())

    assert [path.name for path in (place.root / "trees").iterdir()] == [sha1]
    assert len(list((place.root / "deployed" / "releases").iterdir())) == 1
