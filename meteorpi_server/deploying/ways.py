"""Asking releases which steps they know, and finding the way of the schema for a deployment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from meteorpi_model.errors import ConfigurationError, MeteorError
from meteorpi_server.deploying import releases
from meteorpi_server.deploying.direction import History, Way, way_to
from meteorpi_server.deploying.instructions import CURRENT, RESERVED, Instructions
from meteorpi_server.deploying.journal import Journal
from meteorpi_server.deploying.releases import Release

Say = Callable[[str, str], None]
"""Is told what is done, in a word, and more about it."""

_PLACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Wish:
    """What a deployment is asked for.

    Attributes:
        into: the place whose link is switched.
        origin: the place whose release uses the database now.
        may_stop: stop the service while the schema changes, if the release in service does not bear that.
        force: go back even where that loses data.

    Raises:
        ConfigurationError: a name cannot be that of a link.
    """

    into: str = CURRENT
    origin: str = CURRENT
    may_stop: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name in (self.into, self.origin):
            if not _PLACE.fullmatch(name) or name in RESERVED:
                raise ConfigurationError(f"{name!r} cannot be the name of a place")


class Ways:
    """The ways that the schema can go at one place.

    Args:
        instructions: of the place.
        environ: environment of the programs that are run.
        journal: of the place.
        say: is told of releases that cannot be asked.
    """

    def __init__(
        self, instructions: Instructions, environ: Mapping[str, str], journal: Journal, say: Say
    ) -> None:
        self._instructions = instructions
        self._environ = environ
        self._journal = journal
        self._say = say

    def find(self, release: Release, wish: Wish) -> tuple[Way, Release]:
        """What the schema needs for `release`, and the release whose steps made it what it is.

        Raises:
            MeteorError: the release cannot be asked, perhaps because it cannot read its settings.
            ConfigurationError: nobody knows the schema of the database.
        """
        target = self._history(release)
        running = releases.current_release(self._instructions, wish.origin)
        owner, its_history = self._owner(release, target, running, wish)
        if running is None or self._journal.is_stopped(wish.origin):
            return way_to(target, its_history, None), owner
        if running.name == owner.name:
            return way_to(target, its_history, its_history), owner
        try:
            bears = self._history(running)
        except MeteorError as error:  # that it is broken may be why another one is deployed
            self._say("note", f"{running.name} does not say what it bears: {error.detail}")
            bears = History.unknown(target.version, target.oldest_for)
        return way_to(target, its_history, bears), owner

    def run(self, release: Release, *arguments: str) -> str:
        """Run a command of ``meteorpi schema`` of `release` and give what it printed.

        Raises:
            MeteorError: it failed.
        """
        return release.program.run(self._environ, "schema", *arguments)

    def _owner(
        self, release: Release, target: History, running: Release | None, wish: Wish
    ) -> tuple[Release, History]:
        """The release whose steps made the schema what it is, as far as it can still be asked."""
        entry = self._journal.last_migration(wish.origin) or self._journal.last_migration(wish.into)
        try:
            owner = releases.open_release(self._instructions, entry.release) if entry else running
            if owner is not None and owner.name != release.name:
                found = self._history(owner)
                if found.version == target.version:  # else its settings named another database
                    return owner, found
        except MeteorError as error:
            self._say("note", f"the release that made the schema cannot be asked: {error.detail}")
        return release, target

    def _history(self, release: Release) -> History:
        return History.from_json(self.run(release, "current", "--json"))
