"""The published configuration guide: its code blocks, and a machine on which the paths it names exist."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]
# As the guide names them.
DATABASE_DIRECTORY = Path("/var/lib/firebird/2.5/data")
DB_PATH = f"localhost:{DATABASE_DIRECTORY}/meteorpi.db"
HOME = Path("/home/meteorpi")
ENVIRONMENT = HOME / "meteor-env"
FIREBIRD_PORT = 3050
DIRECTIVE = ".. code-block:: python"


def code_blocks(text: str) -> list[str]:
    """The Python blocks of the reStructuredText page `text`, in order, without their indentation."""
    blocks = []
    for part in text.split(DIRECTIVE)[1:]:
        lines = part.splitlines()[1:]
        end = next((n for n, line in enumerate(lines) if line.strip() and line[0] != " "), len(lines))
        blocks.append(textwrap.dedent("\n".join(lines[:end])).strip("\n") + "\n")
    return blocks


def unshare_command() -> list[str]:
    """The start of a command line that runs the rest of it in new namespaces."""
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--net", "--mount", *own_users]


def can_have_namespaces() -> bool:
    """Whether this machine lets us make namespaces; containers often forbid it."""
    return (
        subprocess.run([*unshare_command(), "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0
    )


class GuideWorld:
    """A machine as the guide supposes it, in namespaces of its own; ends with the context.

    Port 3050 of its own loopback interface belongs to a Firebird server, ``/var/lib/firebird`` and
    ``/home/meteorpi`` are empty file systems in memory, and the database is initialised. Nothing outside sees
    any of it.
    """

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            [*unshare_command(), sys.executable, "-m", "tests.system.guide_world"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )

    def __enter__(self) -> Self:
        assert self._keeper.stdout is not None
        answer = self._keeper.stdout.readline().strip()
        if answer != "ready":
            self.close()
            raise AssertionError("the keeper of the namespaces did not get ready; its errors are above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell the keeper to stop the server and to end; the namespaces go with it."""
        self._keeper.communicate()

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line that runs `arguments` inside."""
        own_users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", f"--target={self._keeper.pid}", "--net", "--mount", *own_users, "--"]
        return [*enter, *map(str, arguments)]

    def run(self, arguments: Sequence[str | Path], timeout_seconds: float = 60) -> str:
        """Run `arguments` inside and give their output; a failure raises with it."""
        done = subprocess.run(
            self.command(*arguments),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
