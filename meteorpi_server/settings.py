"""Every setting of a node: read once at start-up, then passed down as a frozen value.

They come from one TOML file and from the environment, where ``METEORPI_<NAME>`` sets each one and overrides
the file; secrets can come from files of their own. A name that does not exist, or a value that cannot be
read, stops the start and names itself. Nothing else in the packages reads the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.archive_settings import ArchiveSettings
from meteorpi_server.declarations import PREFIX, Declaration, as_text, declarations, setting, suggestion
from meteorpi_server.settings_file import Source, as_toml, read_file, read_secret

DEFAULT_CONFIG: Final = Path("/etc/meteorpi/meteorpi.toml")
"""The configuration file of a machine, read where it exists and nothing else is named."""

CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
"""The variable that names another configuration file; empty for none."""

_FILE_SUFFIX: Final = "_FILE"


class SettingRow(NamedTuple):
    """One setting as documentation and ``meteorpi settings`` show it.

    Attributes:
        origin: ``default``, ``file``, ``environment`` or ``option``.
    """

    name: str
    variable: str
    kind: str
    default: str
    value: str
    help: str
    origin: str = "default"


@dataclass(frozen=True, kw_only=True)
class Settings(ArchiveSettings):
    """Read once at start-up and passed down; a frozen value, never a global."""

    log_level: str = setting(
        "INFO",
        "least level that is logged",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
        heading="Log",
    )
    log_format: str = setting("text", "json writes one JSON object a line", choices=("text", "json"))

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
        origins: ``file``, ``environment`` or ``option`` for each that is not a default.
        path: the configuration file that was read; None for none.
        secret_files: the file that each secret came from, by the name of its key, such as
            ``db_password_file``.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path | None
    secret_files: Mapping[str, str]

    @property
    def password_in_file(self) -> str | None:
        """The password of the database, if it stands in the configuration file itself."""
        is_there = self.origins.get("db_password") == "file" and not self.secret_files
        return self.settings.db_password if is_there else None

    def as_toml(self) -> str:
        """A configuration file that sets what is set here. Secrets that no file holds are left out."""
        values = {name: getattr(self.settings, name) for name in declarations(Settings)}
        return as_toml(declarations(Settings), {**values, **self.secret_files})


def load_settings(
    environ: Mapping[str, str],
    path: Path | str | None = None,
    options: Mapping[str, str] | None = None,
) -> Loaded:
    """As `Settings.load`, with an account of it.

    Args:
        environ: the environment.
        path: the configuration file, or None.
        options: texts given on the command line, by the name of the setting; they override everything.

    Raises:
        ConfigurationError: as there.
    """
    declared = declarations(Settings)
    chosen = choose_file(environ, path)
    sources = {
        "file": read_file(chosen, declared) if chosen else Source({}, {}),
        "environment": _read_environment(environ, declared),
        "option": _read_options(options or {}, declared),
    }
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    secret_files: dict[str, str] = {}
    for origin, source in sources.items():
        values |= source.values
        origins |= dict.fromkeys(source.values, origin)
        secret_files = {key: each for key, each in secret_files.items() if key[:-5] not in source.values}
        secret_files |= source.secret_files
    return Loaded(Settings(**values), origins, chosen, secret_files)


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


def _read_environment(environ: Mapping[str, str], declared: Mapping[str, Declaration]) -> Source:
    texts = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    texts.pop(CONFIG_VARIABLE, None)
    source = Source({}, {})
    for declaration in declared.values():
        _take_variable(texts, declaration, source)
    if texts:
        name = min(texts)
        hint = suggestion(name, [CONFIG_VARIABLE, *(each.variable for each in declared.values())])
        raise ConfigurationError(f"there is no setting {name}.{hint} `meteorpi settings` lists them all")
    return source


def _take_variable(texts: dict[str, str], declaration: Declaration, source: Source) -> None:
    """Move what `texts` say about a setting, in its variable or through a file, to `source`."""
    variable = declaration.variable
    text = texts.pop(variable, None)
    path = texts.pop(variable + _FILE_SUFFIX, None) if declaration.is_secret else None
    if text is not None and path is not None:
        raise ConfigurationError(f"{variable} and {variable}{_FILE_SUFFIX} are both set; keep one")
    if path is not None:
        source.values[declaration.name] = read_secret(variable + _FILE_SUFFIX, path)
        source.secret_files[declaration.file_key] = path
    elif text is not None:
        source.values[declaration.name] = _read(declaration, text, variable)


def _read_options(options: Mapping[str, str], declared: Mapping[str, Declaration]) -> Source:
    return Source(
        {name: _read(declared[name], text, f"--{name.replace('_', '-')}") for name, text in options.items()},
        {},
    )


def _read(declaration: Declaration, text: str, place: str) -> Any:
    try:
        return declaration.from_text(text)
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error
