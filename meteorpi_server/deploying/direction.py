"""Which way the schema has to go for a release, and whether another may stay in service meanwhile.

Decided by the histories of steps that releases know, not by commits or numbers: two branches may both have
made a third step, and they are not the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from meteorpi_model.errors import ConfigurationError, MeteorError


@dataclass(frozen=True)
class KnownStep:
    """A step of the schema as a release knows it."""

    version: int
    description: str
    is_tolerated: bool


@dataclass(frozen=True)
class History:
    """What a release says of the database and of the steps that it knows.

    Attributes:
        version: of the database; 0 when there is none.
        oldest_for: the oldest version whose software works with the database as it is.
        newest: the newest version that the release knows.
        steps: all that it knows, oldest first; the first leads to version 2.
    """

    version: int
    oldest_for: int
    newest: int
    steps: tuple[KnownStep, ...]

    @classmethod
    def from_json(cls, text: str) -> History:
        """Read what ``meteorpi schema current --json`` prints.

        Raises:
            MeteorError: it is something else.
        """
        try:
            said = json.loads(text)
            steps = tuple(
                KnownStep(step["version"], step["description"], step["tolerated"]) for step in said["steps"]
            )
            return cls(said["version"], said["oldest_for"], said["newest"], steps)
        except (ValueError, KeyError, TypeError) as error:
            raise MeteorError("a release does not say which steps of the schema it knows") from error

    @classmethod
    def unknown(cls, version: int, oldest_for: int) -> History:
        """Of a release that cannot be asked: it bears what is there, and what anybody tolerates."""
        return cls(version, oldest_for, version, ())

    def shared(self, other: History) -> int:
        """The newest version up to which both know the same steps."""
        version = 1
        for mine, theirs in zip(self.steps, other.steps, strict=False):
            if mine.description != theirs.description:
                break
            version = mine.version
        return version

    def oldest_working(self, version: int) -> int:
        """The oldest version whose software works with a database of `version`, made by these steps."""
        tolerated = {step.version: step.is_tolerated for step in self.steps}
        while tolerated.get(version, False):
            version -= 1
        return version


@dataclass(frozen=True)
class Way:
    """What has to be done to the schema.

    Attributes:
        down_to: the version to go back to, with the steps of the release that made the present one; None
            stays.
        up_to: the version to go forward to, with the steps of the new release; None stays.
        objections: why the release in service cannot stay there meanwhile; empty when it can.
    """

    down_to: int | None = None
    up_to: int | None = None
    objections: tuple[str, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be done."""
        return self.down_to is not None or self.up_to is not None


def way_to(target: History, owner: History, running: History | None) -> Way:
    """The way from the schema of the database to one that a release works with.

    Args:
        target: of the release to be served.
        owner: of the release whose steps made the schema what it is.
        running: of the release that is in service and uses the database; None when none does.

    Raises:
        ConfigurationError: `owner` does not know the schema either.
    """
    version = target.version
    if version == 0:
        return Way(up_to=target.newest)
    if version > owner.newest:
        raise ConfigurationError(
            f"the database has schema version {version}, which no release here has made:"
            " --from says which place uses it"
        )
    shared = min(owner.shared(target), version)
    down_to = _lowest_needed(version, shared, target, owner)
    # What the target has beyond the steps that both know comes on top of these.
    up_to = target.newest if target.newest > shared else None
    reached = version if down_to is None else down_to
    return Way(
        down_to, up_to, tuple(_objections(reached, version, target, owner, running)) if running else ()
    )


def _lowest_needed(version: int, shared: int, target: History, owner: History) -> int | None:
    """How far back: no further than to what the target tolerates; None when nothing has to be taken back."""
    if target.newest > shared:
        return shared if shared < version else None
    reached = version
    while owner.oldest_working(reached) > shared:
        reached -= 1
    return reached if reached < version else None


def _objections(
    reached: int, version: int, target: History, owner: History, running: History
) -> Iterator[str]:
    """The steps, back and then forward, that the release in service does not bear."""
    for step in reversed(owner.steps):
        if reached < step.version <= min(version, running.newest):
            yield f"takes back {step.version} ({step.description})"
    for step in target.steps:
        if step.version > reached and not step.is_tolerated and running.steps != target.steps:
            yield f"makes {step.version} ({step.description})"
