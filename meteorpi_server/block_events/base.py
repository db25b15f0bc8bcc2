"""What a broker of events is: it wakes the listeners of other processes, and knows nothing of what happened.

What happened is in the database, in the same transaction as the change itself. A broker that fails makes
listeners late, and nothing else: they look by themselves now and then.

Source: K-152 and K-153 of the storage contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias

Wake: TypeAlias = Callable[[str | None], None]
"""Called with the prefix below which something happened, with None when that may be any; must be quick."""

SURE_SECONDS: Final = 30.0
"""How often listeners look by themselves while the broker works."""


class EventBroker(ABC):
    """Wakes listeners; safe for threads, and opens nothing before it is used.

    Attributes:
        name: which kind it is.
    """

    name: ClassVar[str]

    @property
    def poll_seconds(self) -> float:
        """How often those who listen have to look by themselves, as things are now."""
        return SURE_SECONDS

    @property
    def connections(self) -> int:
        """How many connections it holds to be woken by."""
        return 0

    @abstractmethod
    def announce(self, prefix: str) -> None:
        """Wake whoever listens to `prefix` in other processes: soon, without waiting, and without failing."""

    def listen(self, wake: Wake) -> None:  # noqa: B027 - nothing is what a broker within one process does
        """Call `wake` from now on, from any thread; whoever listens already is told instead of before."""

    def rest(self) -> None:  # noqa: B027
        """Listen no longer; harmless when repeated."""

    def check(self) -> None:  # noqa: B027
        """Return when other processes can be reached.

        Raises:
            UnavailableError: they cannot; listeners there are late.
        """

    def close(self) -> None:
        """End what was begun; it can be used again."""
        self.rest()


class LocalBroker(EventBroker):
    """For one process, which wakes its own listeners by itself.

    Listeners of other processes that are served from the same database find what happened when they look.
    """

    name = "local"

    def announce(self, prefix: str) -> None:
        """Nobody else is there to be woken."""
