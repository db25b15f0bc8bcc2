"""The settings of the archive server that runs without a node, read with all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_limit_settings import BlockLimitSettings
from meteorpi_server.declarations import setting

OWN_DATABASE: Final = "sqlite:///meteorpi-archive.db"
"""The database where none is named: in the directory that the server is started in."""

NO_CONTENTS: Final = "memory:?limit=0"
"""The file store of what has no records."""


@dataclass(frozen=True, kw_only=True)
class StandaloneSettings(BlockLimitSettings):
    """Settings of a node with archives and blocks, and of a server that has archives only."""

    archive_host: str = setting(
        "127.0.0.1", "address that it listens on", heading="Archive server without a node"
    )
    archive_port: int = setting(8080, "TCP port that it listens on; 0 takes any free one", maximum=65535)
    archive_db_url: str = setting(
        "",
        "URL of the database of its clients and tickets, also for the commands that look after them",
        is_secret=True,  # it may hold a password
    )
    archive_db_extras: str = setting(
        "", 'options of the connections to it, a JSON object such as {"pool_size": 8}'
    )
    archive_log_file: str = setting(
        "", "file that its log goes to, which may be rotated; empty: standard error"
    )
    archive_log_level: str = setting(
        "",
        "least level that it logs; empty: log_level",
        choices=("", "DEBUG", "INFO", "WARNING", "ERROR"),
    )

    @property
    def has_node(self) -> bool:
        """Whether the database is that of a node, with records and contents."""
        return not self.archive_db_url or self.archive_db_url != self.db_path

    def engine_options(self) -> Mapping[str, Any]:
        """What is handed to the engine of the database.

        Raises:
            ConfigurationError: the setting is no JSON object.
        """
        waiting = {"pool_timeout": self.db_wait_seconds}
        if self.has_node or not self.archive_db_extras:
            return waiting
        try:
            options = json.loads(self.archive_db_extras)
        except ValueError as error:
            raise ConfigurationError(f"archive_db_extras is not JSON: {error}") from error
        if not isinstance(options, dict):
            raise ConfigurationError("archive_db_extras must be a JSON object")
        return waiting | options
