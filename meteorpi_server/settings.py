"""Every setting of a node: read once at start-up, then passed down as a frozen value.

They come from one TOML file and from the environment, where ``METEORPI_<NAME>`` sets each one and overrides
the file; secrets can come from files of their own. A name that does not exist, or a value that cannot be
read, stops the start and names itself. Nothing else in the packages reads the environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from meteorpi_db import MeteorDatabase
from meteorpi_server.declarations import Declaration, as_text, declarations, setting
from meteorpi_server.settings_aliases import Taken, read_container, read_fpx
from meteorpi_server.settings_file import Source, as_toml, read_file
from meteorpi_server.settings_sources import CONFIG_VARIABLE, read_environment, read_options
from meteorpi_server.standalone_settings import NO_CONTENTS, OWN_DATABASE, StandaloneSettings

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_CONFIG",
    "Loaded",
    "SettingRow",
    "Settings",
    "choose_file",
    "load_settings",
]

DEFAULT_CONFIG: Final = Path("/etc/meteorpi/meteorpi.toml")
"""The configuration file of a machine, read where it exists and nothing else is named."""

# Later ones override earlier ones.
_ALIASES: Final[Mapping[str, Callable[[Mapping[str, str], Mapping[str, Declaration]], Taken]]] = {
    "container": read_container,
    "fpx": read_fpx,
}


class SettingRow(NamedTuple):
    """One setting as documentation and ``meteorpi settings`` show it.

    Attributes:
        origin: ``default``, ``file``, ``alias``, ``environment`` or ``option``.
    """

    name: str
    variable: str
    kind: str
    default: str
    value: str
    help: str
    origin: str = "default"


@dataclass(frozen=True, kw_only=True)
class Settings(StandaloneSettings):
    """Read once at start-up and passed down; a frozen value, never a global."""

    log_level: str = setting(
        "INFO",
        "least level that is logged",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        heading="Log",
    )
    log_format: str = setting("text", "json writes one JSON object a line", choices=("text", "json"))
    logging_config: str = setting(
        "", "JSON file that says where log lines go, as Python's logging.config.dictConfig takes it"
    )
    trace_lines: int = setting(10, "lines of what uses most memory that SIGUSR2 writes", minimum=1)

    @classmethod
    def load(cls, environ: Mapping[str, str], path: Path | str | None = None) -> Settings:
        """The settings of the configuration file and of the environment, which wins.

        Args:
            environ: the environment.
            path: the configuration file; None takes the one that ``METEORPI_CONFIG`` names, or
                `DEFAULT_CONFIG` where it exists.

        Raises:
            ConfigurationError: an unreadable file, a name that is no setting, or a value not allowed.
        """
        return load_settings(environ, path).settings

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """The same as `load`, which the environment can lead to a configuration file."""
        return cls.load(environ)

    def without_node(self) -> Settings:
        """The same for a server that has archives only: their database is its own, and nobody else's."""
        database = self.archive_db_url or OWN_DATABASE
        return dataclasses.replace(
            self,
            archive_db_url=database,
            db_path=database,
            file_store=NO_CONTENTS,
            host=self.archive_host,
            port=self.archive_port,
            log_level=self.archive_log_level or self.log_level,
            export=False,
        )

    def open_database(self, create: bool | None = None) -> MeteorDatabase:
        """The database and file store that these settings name; `create` as for `MeteorDatabase`."""
        return MeteorDatabase(
            db_path=self.db_path,
            file_store_path=self.file_store,
            db_user=self.db_user,
            db_password=self.db_password,
            installation_id=self.installation_id or None,
            secret_key_file=self.secret_key_file or None,
            create=create,
            engine_options=self.engine_options(),
            block_store_path=self.block_store or None,
        )

    def rows(self, origins: Mapping[str, str] | None = None) -> list[SettingRow]:
        """Every setting with default and present value, secrets masked: for documents and command line.

        Args:
            origins: where values came from; those not named are defaults.
        """
        found = origins or {}
        return [
            _row(each, getattr(self, name), found.get(name, "default"))
            for name, each in declarations(Settings).items()
        ]


@dataclass(frozen=True)
class Loaded:
    """Settings, and how they came about.

    Attributes:
        settings: the settings.
        origins: ``file``, ``alias``, ``environment`` or ``option`` for each that is not a default.
        path: the configuration file that was read; None for none.
        aliases: the names of other services that were found, each with the variable that sets the same here;
            empty where it has no effect.
        secret_files: the file that each secret came from, by the name of its key, such as
            ``db_password_file``.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None
    secret_files: Mapping[str, str]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def password_in_file(self) -> str | None:
        """The password of the database, if it stands in the configuration file itself."""
        is_there = self.origins.get("db_password") == "file" and "db_password_file" not in self.secret_files
        return self.settings.db_password if is_there else None

    def as_toml(self) -> str:
        """A configuration file that sets what is set here. Secrets that no file holds are left out."""
        values = {name: getattr(self.settings, name) for name in declarations(Settings)}
        return as_toml(declarations(Settings), {**values, **self.secret_files})


def load_settings(
    environ: Mapping[str, str],
    path: Path | str | None = None,
    options: Mapping[str, str] | None = None,
    aliases: Collection[str] = (),
) -> Loaded:
    """As `Settings.load`, with an account of it.

    Args:
        environ: the environment.
        path: the configuration file, or None.
        options: texts given on the command line, by the name of the setting; they override everything.
        aliases: names of other services that are read as well, which the variables of this one override:
            ``fpx`` for those of FPX, ``container`` for those of the container of the directory service.

    Raises:
        ConfigurationError: as there.
    """
    declared = declarations(Settings)
    chosen = choose_file(environ, path)
    taken = [read(environ, declared) for name, read in _ALIASES.items() if name in aliases]
    sources = [
        ("file", read_file(chosen, declared) if chosen else Source({}, {})),
        *(("alias", each.source) for each in taken),
        ("environment", read_environment(environ, declared)),
        ("option", read_options(options or {}, declared)),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    secret_files: dict[str, str] = {}
    for origin, source in sources:
        values |= source.values
        origins |= dict.fromkeys(source.values, origin)
        secret_files = {key: each for key, each in secret_files.items() if key[:-5] not in source.values}
        secret_files |= source.secret_files
    names = {name: variable for each in taken for name, variable in each.names.items()}
    return Loaded(Settings(**values), origins, chosen, secret_files, names)


def _row(declaration: Declaration, value: object, origin: str) -> SettingRow:
    shown = "(set)" if declaration.is_secret and value else as_text(value)
    default = as_text(declaration.default)
    return SettingRow(
        declaration.name,
        declaration.variable,
        declaration.kind,
        default,
        shown,
        declaration.explanation,
        origin,
    )


def choose_file(environ: Mapping[str, str], path: Path | str | None) -> Path | None:
    """The configuration file that `load_settings` reads with these arguments; an empty path is none."""
    named = environ.get(CONFIG_VARIABLE) if path is None else str(path)
    if named is not None:
        return Path(named) if named not in ("", ".") else None
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
    except OSError:
        return DEFAULT_CONFIG  # it may be there, and who may not look is told so
