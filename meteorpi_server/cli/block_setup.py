"""What commands of blocks start from: the settings of the node, and the options of the Qabel block server."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from meteorpi_db import MeteorDatabase
from meteorpi_server.block_serving.loading import BlockServerSettings, Places, load_block_settings
from meteorpi_server.block_serving.logs import configure_block_logging
from meteorpi_server.cli.setup import Setup
from meteorpi_server.settings import Loaded


class BlockSetup(Setup):
    """As `Setup`, with what is said under the names of the predecessor.

    Args:
        setup: of the commands of the node.
        file: its configuration file; None reads those that are read without being named.
        given: its options on the command line.
        is_server: whether the settings are those of the server, with the address that it had.
    """

    def __init__(
        self,
        setup: Setup,
        file: Path | None = None,
        given: Mapping[str, str | None] | None = None,
        *,
        is_server: bool = False,
    ) -> None:
        super().__init__(dict(setup._overrides), setup._environ, setup._config)
        self.file = file
        self._given = given or {}
        self._is_server = is_server

    @cached_property
    def found(self) -> BlockServerSettings:
        """The settings, and what was said under the names of the predecessor.

        Raises:
            ConfigurationError: something cannot be read, or there is a name that is none.
        """
        places = Places(
            environ=self._environ,
            config=self._config,
            overrides=self._overrides,
            file=self.file,
            given=self._given,
        )
        return load_block_settings(places, is_server=self._is_server)

    @cached_property
    def loaded(self) -> Loaded:
        """The settings, and where each came from; raises as `found`."""
        return self.found.loaded

    @contextmanager
    def open_database(self, create: bool | None = None) -> Iterator[MeteorDatabase]:
        """The database, closed afterwards; one that nobody named goes when objects are in memory anyhow."""
        if not self.found.forgets_everything:
            with super().open_database(create) as database:
                yield database
            return
        with tempfile.TemporaryDirectory(prefix="meteorpi-blocks-") as directory:
            path = str(Path(directory, "blocks.db"))
            settings = dataclasses.replace(self.settings, db_path=path)
            with settings.open_database() as database:
                yield database

    def configure_logging(self) -> None:
        """Log as the settings say, and the options of the predecessor."""
        configure_block_logging(self.found)
