"""Every setting of a node: read once at start-up, then passed down as a frozen value.

``METEORPI_<NAME>`` sets each one; secrets can come from a file named by ``METEORPI_<NAME>_FILE``. A name that
does not exist, or a value that cannot be read, stops the start and names itself. Nothing else in the packages
reads the environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError

PREFIX = "METEORPI_"
_FILE_SUFFIX = "_FILE"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def setting(default: object, help: str, *, is_secret: bool = False) -> Any:  # noqa: A002 - the published word
    """Declare a setting.

    Args:
        default: value when the environment says nothing.
        help: one phrase for people, units included.
        is_secret: never shown, and also readable from the file named by ``METEORPI_<NAME>_FILE``.
    """
    metadata = {"help": help, "is_secret": is_secret}
    return dataclasses.field(default=default, repr=not is_secret, metadata=metadata)


class SettingRow(NamedTuple):
    """One setting as documentation and ``meteorpi settings`` show it."""

    name: str
    variable: str
    kind: str
    default: str
    value: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Read once at start-up and passed down; a frozen value, never a global."""

    db_path: str = setting(
        "sqlite:///meteorpi.db",
        "SQLAlchemy URL, Firebird DSN such as localhost:/path/x.fdb, or path of a file",
    )
    db_user: str = setting("meteorpi", "account on a Firebird or PostgreSQL server")
    db_password: str = setting("", "password of db_user; embedded databases need none", is_secret=True)
    file_store: str = setting("meteorpi-files", "directory, or URL, of the file store")
    installation_id: str = setting(
        "", "camera id of this node, 12 characters; empty: from the network hardware"
    )
    secret_key_file: str = setting(
        "", "file with the key that protects stored passwords; empty: beside the store"
    )

    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(12345, "TCP port to listen on; 0 takes any free one")
    threads: int = setting(8, "requests handled at the same time")
    url_path: str = setting("", "path below which every route is served, such as /api")
    routes: tuple[str, ...] = setting(
        ("admin", "importer", "query", "node"), "route packages to offer, separated by commas"
    )
    trusted_proxy: str = setting(
        "", "address of the proxy whose X-Forwarded headers are believed; empty: none"
    )
    stop_seconds: int = setting(30, "longest wait for requests in flight when stopping, in seconds")

    max_document_bytes: int = setting(8 * 2**20, "largest JSON body accepted, in bytes")
    max_upload_bytes: int = setting(2**30, "largest file accepted, in bytes")
    anonymous_limit: int = setting(
        100_000, "most results that one search gives to a caller without an account; 0: no ceiling"
    )
    cors_origins: tuple[str, ...] = setting(
        (), "origins whose pages may call the routes that need an account, separated by commas; * for any"
    )
    export_target_hosts: tuple[str, ...] = setting(
        (), "hosts that export configurations may push to, separated by commas; empty: any"
    )

    thumbnail_path: str = setting("", "directory of kept thumbnails; empty: beside the file store")
    thumbnail_cache_bytes: int = setting(256 * 2**20, "room for kept thumbnails, in bytes; 0 keeps none")
    thumbnail_max_pixels: int = setting(100_000_000, "largest picture that a thumbnail is made of, in pixels")

    export: bool = setting(False, "run the exporter inside the serving process")
    mark_interval_seconds: int = setting(300, "interval between export rounds, in seconds")
    max_failures_before_disable: int = setting(4, "consecutive failures that suspend an export configuration")
    defer_on_failure_seconds: int = setting(1800, "wait after a failed export, in seconds")

    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    log_format: str = setting("text", "text, or json for one JSON object a line")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings out of `environ`.

        Raises:
            ConfigurationError: a name with our prefix that is no setting, or a value that cannot be read.
        """
        texts = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
        values: dict[str, object] = {}
        for name, read in _readers().items():
            text = _take(texts, name)
            if text is not None:
                values[name] = _read(name, text, read)
        if texts:
            raise ConfigurationError(
                f"there is no setting {sorted(texts)[0]}; `meteorpi settings` lists them all"
            )
        return cls(**values)  # type: ignore[arg-type]  # each value went through the reader of its field

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

    def rows(self) -> list[SettingRow]:
        """Every setting with default and present value, secrets masked: for documents and command line."""
        return [_row(field, getattr(self, field.name)) for field in dataclasses.fields(self)]


def _row(field: dataclasses.Field[Any], value: object) -> SettingRow:
    hints = get_type_hints(Settings)
    shown = "(set)" if field.metadata["is_secret"] and value else _as_text(value)
    kind = "list" if hints[field.name] == tuple[str, ...] else hints[field.name].__name__
    variable = PREFIX + field.name.upper()
    return SettingRow(field.name, variable, kind, _as_text(field.default), shown, field.metadata["help"])


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _take(texts: dict[str, str], name: str) -> str | None:
    """Remove and give the text for setting `name`, out of the variable itself or the file that it names."""
    variable = PREFIX + name.upper()
    text = texts.pop(variable, None)
    secrets = {field.name for field in dataclasses.fields(Settings) if field.metadata["is_secret"]}
    path = texts.pop(variable + _FILE_SUFFIX, None) if name in secrets else None
    if path is None:
        return text
    if text is not None:
        raise ConfigurationError(f"{variable} and {variable}{_FILE_SUFFIX} are both set; keep one")
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}{_FILE_SUFFIX}: cannot read {path}: {error}") from error


def _read(name: str, text: str, read: Callable[[str], object]) -> object:
    try:
        return read(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {error}") from error


def _readers() -> dict[str, Callable[[str], object]]:
    by_type: dict[object, Callable[[str], object]] = {
        str: str,
        int: _read_count,
        bool: _read_flag,
        tuple[str, ...]: _read_list,
    }
    hints = get_type_hints(Settings)
    return {field.name: by_type[hints[field.name]] for field in dataclasses.fields(Settings)}


def _read_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _read_flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
