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
class Settings:
    """Read once at start-up and passed down; a frozen value, never a global."""

    db_path: str = setting(
        "sqlite:///meteorpi.db",
        "SQLAlchemy URL, Firebird DSN such as localhost:/path/x.fdb, or path of a file",
        heading="Database and file store",
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

    host: str = setting("127.0.0.1", "address to listen on", heading="Serving")
    port: int = setting(12345, "TCP port to listen on; 0 takes any free one", maximum=65535)
    threads: int = setting(8, "requests handled at the same time", minimum=1)
    url_path: str = setting("", "path below which every route is served, such as /api")
    routes: tuple[str, ...] = setting(("admin", "importer", "query", "node"), "route packages to offer")
    trusted_proxy: str = setting(
        "", "address of the proxy whose X-Forwarded headers are believed; empty: none"
    )
    file_offload: str = setting(
        "",
        "header with which contents of files are left to a web server that offers to send them",
        choices=("", "x-sendfile", "x-accel-redirect"),
    )
    stop_seconds: int = setting(30, "longest wait for requests in flight when stopping, in seconds")

    max_document_bytes: int = setting(
        8 * 2**20, "largest JSON body accepted, in bytes", minimum=1, heading="Limits"
    )
    max_upload_bytes: int = setting(2**30, "largest file accepted, in bytes", minimum=1)
    anonymous_limit: int = setting(
        100_000, "most results that one search gives to a caller without an account; 0: no ceiling"
    )
    cors_origins: tuple[str, ...] = setting(
        (), "origins whose pages may call the routes that need an account; * for any"
    )
    export_target_hosts: tuple[str, ...] = setting(
        (), "hosts that export configurations may push to; empty: any"
    )

    thumbnail_path: str = setting(
        "", "directory of kept thumbnails; empty: beside the file store", heading="Thumbnails"
    )
    thumbnail_cache_bytes: int = setting(256 * 2**20, "room for kept thumbnails, in bytes; 0 keeps none")
    thumbnail_max_pixels: int = setting(100_000_000, "largest picture that a thumbnail is made of, in pixels")

    export: bool = setting(False, "run the exporter inside the serving process", heading="Export")
    mark_interval_seconds: int = setting(300, "interval between export rounds, in seconds", minimum=1)
    max_failures_before_disable: int = setting(
        4, "consecutive failures that suspend an export configuration", minimum=1
    )
    defer_on_failure_seconds: int = setting(1800, "wait after a failed export, in seconds")

    keep_frames_days: int = setting(
        0,
        "days after which meteorpi prune deletes files that belong to no event; 0: never",
        heading="Retention",
    )
    keep_events_days: int = setting(0, "days after which it deletes events with their files; 0: never")
    keep_free_bytes: int = setting(
        0, "room that pruning keeps free in the file store, in bytes; 0: does not look"
    )
    prune_events_for_space: bool = setting(
        False, "let events go too when the oldest other files do not make enough room"
    )

    archive_storage_path: str = setting(
        "",
        "directory whose directories /archive/ offers, each behind its unguessable name; empty: none",
        heading="Archives",
    )
    archive_min_hash_length: int = setting(
        16, "shortest name of a directory that is offered; shorter ones in debug mode only", minimum=1
    )
    archive_include_hidden: bool = setting(False, "put files whose names begin with a dot into archives")
    archive_dir_prefix: bool = setting(
        False, "let the names in the archive of a directory begin with the name of the directory"
    )
    archive_debug: bool = setting(False, "show the directories that are offered at /archive/; for tests only")
    archive_user_roles: tuple[str, ...] = setting(
        ("user",), "roles whose accounts may make archives of records; camera_admin may always"
    )
    archive_max_items: int = setting(10_000, "most items in a request for an archive", minimum=1)
    archive_max_entries: int = setting(200_000, "most entries in an archive", minimum=1)
    archive_max_bytes: int = setting(0, "largest archive, in bytes of its contents; 0: any")
    archive_max_request_bytes: int = setting(
        32 * 2**20, "largest request for an archive, in bytes", minimum=1
    )
    archive_ttl: int = setting(86_400, "how long a link is good that does not say it, in seconds", minimum=1)
    archive_max_ttl: int = setting(30 * 86_400, "longest time that a link may be good, in seconds", minimum=1)
    archive_resume_grace: int = setting(
        3600, "how long a download for once can be gone on with after its end, in seconds"
    )
    archive_max_active: int = setting(
        0, "archives sent at the same time by one process; 0: two less than there are threads, at least 1"
    )
    archive_no_queue: bool = setting(
        True, "let links be downloaded at once; false: in turn, after waiting in a queue of all processes"
    )
    archive_simultaneous_downloads_limit: int = setting(
        2, "archives sent at the same time by all processes, where there is a queue", minimum=1
    )
    archive_slot_lease: int = setting(
        30, "how long a link whose turn has come waits for its download, in seconds", minimum=1
    )
    archive_wait_ping: int = setting(
        20, "longest time without a sign of life of a waiter, in seconds", minimum=1
    )
    archive_wait_timeout: int = setting(3600, "longest wait over one connection, in seconds", minimum=1)
    archive_stream_require_exp: bool = setting(
        False, "refuse signed links that do not say until when they are good"
    )
    archive_allowed_sources: tuple[str, ...] = setting(
        (),
        "what archives may be fetched from beside public addresses: URL prefixes, hosts, networks, each with "
        "its port unless that is 80 or 443; with the word only: nothing else",
    )
    archive_allow_peers: bool = setting(
        False, "let archives be fetched from the nodes that this one exports to, too"
    )
    archive_max_redirects: int = setting(5, "redirects of a source that are followed")
    archive_connect_timeout: int = setting(
        10, "longest wait for a connection to a source, in seconds", minimum=1
    )
    archive_first_byte_timeout: int = setting(
        30, "longest wait for the answer of a source, in seconds", minimum=1
    )
    archive_idle_timeout: int = setting(
        60, "longest silence of a source in its middle, in seconds", minimum=1
    )
    archive_total_timeout: int = setting(
        21_600, "longest time that one source may take, in seconds", minimum=1
    )
    archive_retries: int = setting(3, "how often a source that failed is asked again")
    archive_prefetch: int = setting(4, "sources that are opened ahead of the one that is sent")
    archive_prefetch_bytes: int = setting(
        2**20, "most that is fetched of each source that is opened ahead, in bytes", minimum=1
    )
    archive_preflight: int = setting(
        1000, "most URLs of a request that are asked for their length when a link is made; 0: never"
    )

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
