"""What every command starts from: the settings, and the database that they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import Loaded, Settings, choose_file, load_settings

Result = TypeVar("Result")


class Setup:
    """The settings of the configuration file, the environment and the options before the command.

    They are read when first needed.

    Args:
        overrides: settings given as options; None leaves what file and environment say.
        environ: the environment.
        config: the configuration file; None leaves it to the environment, ``Path()`` is none.
    """

    def __init__(
        self,
        overrides: Mapping[str, str | None],
        environ: Mapping[str, str],
        config: Path | None = None,
    ) -> None:
        self._overrides = {name: value for name, value in overrides.items() if value is not None}
        self._environ = environ
        self._config = config

    @cached_property
    def loaded(self) -> Loaded:
        """The settings, and where each came from.

        Raises:
            ConfigurationError: one of them cannot be read.
        """
        return load_settings(self._environ, self._config, self._overrides)

    @property
    def config(self) -> Path | None:
        """The configuration file that would be read, which need not exist; None for none."""
        return choose_file(self._environ, self._config)

    @property
    def config_of_environment(self) -> Path | None:
        """The same for a command that is given no option."""
        return choose_file(self._environ, None)

    def with_config(self, path: Path | None) -> Setup:
        """The same options and environment, with another configuration file; None reads none."""
        return Setup(self._overrides, self._environ, Path() if path is None else path)

    @property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            ConfigurationError: one of them cannot be read.
        """
        return self.loaded.settings

    @contextmanager
    def open_database(self, create: bool | None = None) -> Iterator[MeteorDatabase]:
        """The database, closed afterwards.

        Args:
            create: make what is missing; None makes embedded databases only, False nothing at all.
        """
        with self.settings.open_database(create=create) as database:
            yield database

    def configure_logging(self) -> None:
        """Write log lines to standard error, as the settings say; for commands that run for long."""
        settings = self.settings
        configure_logging(settings.log_level, settings.log_format, config=settings.logging_config)


class ArchiveSetup(Setup):
    """As `Setup` for commands of archives, which may have a database without a node.

    Settings of FPX are read as well.

    Args:
        setup: of the commands of the node.
        given: further settings given as options, as texts.
        is_server: whether the settings are those of the server without a node, under all of its names, even
            where no database is named.
    """

    def __init__(
        self, setup: Setup, given: Mapping[str, str] | None = None, *, is_server: bool = False
    ) -> None:
        super().__init__({**setup._overrides, **(given or {})}, setup._environ, setup._config)
        self._is_server = is_server

    @cached_property
    def loaded(self) -> Loaded:
        """The settings, and where each came from.

        Raises:
            ConfigurationError: one of them cannot be read, or is of no use to a server without a node.
        """
        aliases = ("container", "fpx") if self._is_server else ("fpx",)
        loaded = load_settings(self._environ, self._config, self._overrides, aliases)
        names_node = "db_path" in self._overrides
        if self._is_server and names_node:
            raise ConfigurationError("--db-path is for a node; --db-url names the database of this server")
        if names_node or not (self._is_server or loaded.settings.archive_db_url):
            return loaded
        return dataclasses.replace(loaded, settings=loaded.settings.without_node())


def pass_setup(command: Callable[..., Result]) -> Callable[..., Result]:
    """Hand the `Setup` to `command`, in front of its options."""
    return click.make_pass_decorator(Setup)(command)
