"""Deploying a release: build, migrate, switch, reload, wait; and back again when it does not become ready.

Every part may be repeated. After a kill the history says how far it came, and the next run goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from meteorpi_model.errors import ConfigurationError, ConflictError, MeteorError, NotFoundError
from meteorpi_server.deploying import journal, releases, trees
from meteorpi_server.deploying.commands import run
from meteorpi_server.deploying.direction import Way
from meteorpi_server.deploying.environments import environment_of, is_complete, make_environment
from meteorpi_server.deploying.instructions import Instructions
from meteorpi_server.deploying.journal import Journal
from meteorpi_server.deploying.readiness import wait_until_ready
from meteorpi_server.deploying.releases import Release
from meteorpi_server.deploying.ways import Say, Ways, Wish

logger = logging.getLogger("meteorpi.deploy")

COMMAND_SECONDS: Final = 600.0
"""How long a command that reloads, stops or starts the service may take."""


class Deployment:
    """Deployments at one place.

    Args:
        instructions: of the place.
        environ: environment of the programs that are run.
        say: is told each thing before it is done: what, and more about it.
    """

    def __init__(self, instructions: Instructions, environ: Mapping[str, str], say: Say) -> None:
        self._instructions = instructions
        self._environ = environ
        self._say = say
        self.journal = Journal(instructions.deployed)
        self._ways = Ways(instructions, environ, self.journal, say)

    def checkout(self, commit: str) -> Release:
        """Export a commit and make its environment; nothing that is served is touched.

        Raises:
            NotFoundError: there is no such commit.
            ConflictError: another deployment is under way.
            MeteorError: it could not be built.
        """
        sha1 = trees.commit_id(self._instructions, commit)
        with self.journal.locked():
            return self._build(sha1)

    def deploy(self, commit: str, wish: Wish) -> Release:
        """Bring a commit into service, with the settings as they are now.

        Raises:
            NotFoundError: there is no such commit.
            ConflictError: the service would have to be stopped, or another deployment is under way; nothing
                was changed.
            MeteorError: it could not be built, its steps failed, those of the release before would lose data,
                or it did not become ready: the former release is in service, or the detail says otherwise.
        """
        sha1 = trees.commit_id(self._instructions, commit)
        with self.journal.locked():
            release = self._build(sha1)
            self._bring_in(release, wish)
        return release

    def roll_back(self, wish: Wish) -> Release:
        """Bring back the release that was in service before, with the settings that it had.

        Raises:
            NotFoundError: there was none.
            ConflictError, MeteorError: see :meth:`deploy`.
        """
        with self.journal.locked():
            release = self.former(wish.into)
            self._bring_in(release, wish)
        return release

    def former(self, place: str) -> Release:
        """The release that was in service at `place` before the present one.

        Raises:
            NotFoundError: there was none.
            ConfigurationError: its files are gone.
        """
        current = releases.current_release(self._instructions, place)
        entry = self.journal.former(place, current.name if current else "")
        if entry is None:
            raise NotFoundError(f"nothing was in service at {place} before")
        release = releases.open_release(self._instructions, entry.release)
        if not release.is_complete:
            raise ConfigurationError(f"files of {release.name} are gone: deploy {release.commit} again")
        return release

    def _build(self, sha1: str) -> Release:
        tree = trees.tree_of(self._instructions, sha1)
        if not tree.exists():
            self._say("export", str(tree))
            trees.export(self._instructions, sha1)
        environment = environment_of(self._instructions, tree)
        if not is_complete(environment):
            self._say("build", str(environment))
            make_environment(self._instructions, tree)
        release = releases.candidate(self._instructions, sha1)
        releases.write(self._instructions, release)
        return release

    def _bring_in(self, release: Release, wish: Wish) -> None:
        current = releases.current_release(self._instructions, wish.into)
        way, owner = self._ways.find(release, wish)
        is_current = current is not None and current.name == release.name
        if is_current and not way.is_needed and self.journal.is_finished(wish.into, release.name):
            self._say("done", f"{release.name} is in service already")
            return
        if way.objections and not wish.may_stop:
            raise ConflictError(
                f"the release in service does not bear the change of the schema, which"
                f" {', '.join(way.objections)}: --stop ends the service meanwhile"
            )
        self._note(wish, journal.BEGUN, release)
        with self._former_back_on_failure(self._fallback(current, release, wish), release, wish):
            self._change_over(release, owner, way, wish)
        self._note(wish, journal.DONE, release)

    def _change_over(self, release: Release, owner: Release, way: Way, wish: Wish) -> None:
        """From the release in service to `release`; raises when the latter does not become ready."""
        is_stopped = self._stop(release, wish, is_needed=bool(way.objections))
        self._migrate(release, owner, way, wish)
        self._serve(release, wish, must_start=is_stopped)

    def _serve(self, release: Release, wish: Wish, *, must_start: bool) -> None:
        self._say("switch", f"{self._instructions.deployed / wish.into} to {release.name}")
        releases.switch(self._instructions, wish.into, release)
        self._note(wish, journal.SWITCHED, release)
        name = "start" if must_start else "reload"
        self._command(name)
        self._say("wait", self._instructions.ready)
        wait_until_ready(self._instructions.ready, release.name, self._instructions.ready_seconds)

    def _migrate(self, release: Release, owner: Release, way: Way, wish: Wish) -> None:
        if way.down_to is not None:
            self._say("migrate", f"down to {way.down_to}, with the steps of {owner.name}")
            self._note(wish, journal.MIGRATING, owner, f"down to {way.down_to}")
            forced = ["--force"] if wish.force else []
            self._ways.run(owner, "down", "--to", str(way.down_to), *forced)
        if way.up_to is not None:
            self._say("migrate", f"up to {way.up_to}, with the steps of {release.name}")
            self._note(wish, journal.MIGRATING, release, f"up to {way.up_to}")
            self._ways.run(release, "up")

    def _fallback(self, current: Release | None, release: Release, wish: Wish) -> Release | None:
        """The release to go back to: the one in service, or after a kill the one before it."""
        if current is not None and current.name != release.name:
            return current
        entry = self.journal.former(wish.into, release.name)
        return releases.find_release(self._instructions, entry.release) if entry else None

    @contextmanager
    def _former_back_on_failure(self, former: Release | None, release: Release, wish: Wish) -> Iterator[None]:
        try:
            yield
        except MeteorError as error:
            logger.warning("deployment failed release=%s reason=%s", release.name, error.detail)
            if former is None:
                self._note(wish, journal.FAILED, release, error.detail)
                raise
            self._go_back(former, release, wish, error)
            raise MeteorError(f"{error.detail}; {former.name} is in service again") from error

    def _go_back(self, former: Release, release: Release, wish: Wish, cause: MeteorError) -> None:
        """Have `former` served again, after whatever was done for `release`."""
        self._say("back", f"to {former.name}: {cause.detail}")
        try:
            way, owner = self._ways.find(former, wish)
            is_stopped = self._stop(former, wish, is_needed=way.is_needed)
            self._migrate(former, owner, way, Wish(wish.into, wish.origin))
            self._serve(former, wish, must_start=is_stopped)
        except MeteorError as error:
            self._note(wish, journal.FAILED, release, error.detail)
            raise MeteorError(
                f"{cause.detail}; and the former release is not back: {error.detail}"
            ) from error
        self._note(wish, journal.SWITCHED_BACK, former, cause.detail)

    def _stop(self, release: Release, wish: Wish, *, is_needed: bool) -> bool:
        """Stop the service if that is needed; whether it has to be started afterwards.

        Once it was stopped it is stopped again each time until all is in order: whoever noted it may have
        been killed before, and a release that did not become ready may have been started since.
        """
        if not (is_needed or self.journal.is_stopped(wish.into)):
            return False
        if not (self._instructions.stop and self._instructions.start):
            raise ConfigurationError("the instructions do not say how to stop and start the service")
        self._note(wish, journal.STOPPED, release)
        self._command("stop")
        return True

    def _command(self, name: str) -> None:
        words = getattr(self._instructions, name)
        self._say(name, " ".join(words))
        run(words, self._environ, timeout=COMMAND_SECONDS)

    def _note(self, wish: Wish, event: str, release: Release, detail: str = "") -> None:
        self.journal.note(wish.into, event, release.name, release.commit, detail)
