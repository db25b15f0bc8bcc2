"""What commands of blocks start from: the settings of the node, and the options of the Qabel block server.

These are found in its files, in the variables of its container and on the command line.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from meteorpi_db import MeteorDatabase
from meteorpi_server.block_serving.logs import LogChoice, add_log_file, read_log_choice
from meteorpi_server.block_serving.names import OPTIONS
from meteorpi_server.block_serving.reading import (
    Given,
    Sayings,
    nothing,
    read_arguments,
    read_file,
    read_usual_files,
    read_variables,
)
from meteorpi_server.block_serving.translating import DEFAULT_HOST, DEFAULT_PORT, IN_MEMORY, translate
from meteorpi_server.cli.setup import Setup
from meteorpi_server.declarations import declarations
from meteorpi_server.settings import Loaded, Settings, load_settings
from meteorpi_server.settings_sources import read_value
from meteorpi_server.standalone_settings import NO_CONTENTS

_OVERRIDDEN: Final = frozenset({"default", "file"})
"""Origins of settings that an option of the predecessor wins over, wherever that is."""


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
    def sayings(self) -> Sayings:
        """What is said under the names of the predecessor, and of settings in its files.

        Raises:
            ConfigurationError: a file cannot be read, or there is a name that is none.
        """
        declared, found = declarations(Settings), nothing()
        if self.file is not None:
            found.add(read_file(self.file, declared))
        else:
            home = Path(self._environ.get("HOME") or Path.home())
            found.add(read_usual_files(home, Path.cwd(), declared))
        found.add(read_variables(self._environ))
        found.add(read_arguments(self._given))
        return found

    @cached_property
    def loaded(self) -> Loaded:
        """The settings, and where each came from.

        Raises:
            ConfigurationError: one of them cannot be read, or a name is none.
        """
        node = load_settings(self._environ, self._config, self._overrides)
        has_store = bool({"file_store", "block_store"} & node.origins.keys())
        translated = translate(self.sayings.options, has_store=has_store)
        said = {
            name: given
            for name, given in {**translated, **self.sayings.settings}.items()
            if given.is_option or node.origins.get(name, "default") in _OVERRIDDEN
        }
        # An option of the command line wins over whatever a file says of the same setting.
        said |= {name: given for name, given in translated.items() if given.is_option}
        return self._with(node, said)

    def _with(self, node: Loaded, said: Mapping[str, Given]) -> Loaded:
        declared = declarations(Settings)
        values: dict[str, Any] = {
            name: read_value(declared[name], given.text, given.place) for name, given in said.items()
        }
        origins = {**node.origins, **dict.fromkeys(said, "alias")}
        if "file_store" not in origins and ("db_path" in said or values.get("block_store") == IN_MEMORY):
            values["file_store"] = NO_CONTENTS  # what keeps blocks alone has no recordings
        if self._is_server:
            values = {"host": DEFAULT_HOST, "port": DEFAULT_PORT} | _chosen(node, "host", "port") | values
        names: dict[str, str] = {}
        for name, given in said.items():
            if not given.is_option:
                others = f"{names[given.place]}, " if given.place in names else ""
                names[given.place] = others + declared[name].variable
        return dataclasses.replace(
            node,
            settings=dataclasses.replace(node.settings, **values),
            origins=origins,
            aliases={**names, **dict.fromkeys(self.sayings.ignored, "")},
        )

    @property
    def notes(self) -> dict[str, str]:
        """What is different from the predecessor in what was given, by the place that gave it."""
        return {
            given.place: OPTIONS[name].note
            for name, given in self.sayings.options.items()
            if OPTIONS[name].note
        }

    @contextmanager
    def open_database(self, create: bool | None = None) -> Iterator[MeteorDatabase]:
        """The database, closed afterwards; one that nobody named goes when objects are in memory anyhow."""
        forgets = self.settings.block_store == IN_MEMORY and "db_path" not in self.loaded.origins
        if not forgets:
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
        choice: LogChoice = read_log_choice(self.sayings.options)
        if choice.is_left_alone:
            return
        super().configure_logging()
        settings = self.settings
        add_log_file(choice, settings.log_format, is_configured=bool(settings.logging_config))


def _chosen(node: Loaded, *names: str) -> dict[str, Any]:
    """Settings that are not defaults."""
    return {name: getattr(node.settings, name) for name in names if name in node.origins}
