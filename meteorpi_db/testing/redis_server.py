"""A private Redis server for tests and benches: the real program."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from meteorpi_db.testing.processes import LOOPBACK, PrivateServer, find_program


class RedisServer(PrivateServer):
    """A Redis that keeps everything in memory; what was in it is gone when it has ended."""

    name: ClassVar[str] = "redis"
    accounts: ClassVar[tuple[str, ...]] = ("redis",)

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        self._program = find_program("redis-server", "redis-server")
        super().__init__(directory, port=port)

    @property
    def url(self) -> str:
        """How clients reach it."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Nothing to do."""

    def command(self) -> list[str]:
        """The program without any configuration file, and without files for its contents."""
        return [
            str(self._program),
            *("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        ]
