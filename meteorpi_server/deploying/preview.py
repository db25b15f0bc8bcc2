"""What a deployment would do; nothing is changed to find out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from meteorpi_server.deploying import releases, trees
from meteorpi_server.deploying.environments import environment_of, is_complete
from meteorpi_server.deploying.instructions import Instructions
from meteorpi_server.deploying.journal import Journal
from meteorpi_server.deploying.releases import Release
from meteorpi_server.deploying.ways import Say, Ways, Wish


class Preview:
    """Says what deployments at one place would do.

    Args:
        instructions: of the place.
        environ: environment of the programs that are run.
        say: is told each thing that would be done.
    """

    def __init__(self, instructions: Instructions, environ: Mapping[str, str], say: Say) -> None:
        self._instructions = instructions
        self._say = say
        self._ways = Ways(instructions, environ, Journal(instructions.deployed), say)

    def of_commit(self, commit: str, wish: Wish) -> None:
        """Say what deploying a commit would do.

        Raises:
            NotFoundError: there is no such commit.
        """
        sha1 = trees.commit_id(self._instructions, commit)
        release = self._building(sha1)
        if release is None:
            self._say("migrate", "known once the commit has been checked out")
        else:
            self._schema(release, wish)
        self._serving(release.name if release else sha1[:12], wish)

    def of_release(self, release: Release, wish: Wish) -> None:
        """Say what bringing back a release would do."""
        self._schema(release, wish)
        self._serving(release.name, wish)

    def _building(self, sha1: str) -> Release | None:
        tree = trees.tree_of(self._instructions, sha1)
        self._say("export", f"{tree}{', is there' if tree.exists() else ''}")
        if not tree.exists():
            self._say("build", "the environment, unless its requirements have one")
            return None
        environment = environment_of(self._instructions, tree)
        self._say("build", f"{environment}{', is there' if is_complete(environment) else ''}")
        return releases.candidate(self._instructions, sha1) if is_complete(environment) else None

    def _schema(self, release: Release, wish: Wish) -> None:
        if not release.folder.exists():  # it has no copy of the settings yet
            program = dataclasses.replace(release.program, settings=self._instructions.settings)
            release = dataclasses.replace(release, program=program)
        way, owner = self._ways.find(release, wish)
        if way.objections:
            self._say("stop", f"{wish.origin}: the change of the schema {', '.join(way.objections)}")
        if way.down_to is not None:
            self._say("migrate", f"down to {way.down_to}, with the steps of {owner.name}")
        if way.up_to is not None:
            self._say("migrate", f"up to {way.up_to}, with the steps of {release.name}")
        if not way.is_needed:
            self._say("migrate", "nothing to do")

    def _serving(self, name: str, wish: Wish) -> None:
        self._say("switch", f"{self._instructions.deployed / wish.into} to {name}")
        self._say("reload", " ".join(self._instructions.reload))
        self._say("wait", f"{self._instructions.ready}, for {self._instructions.ready_seconds:g} s")
