"""What ``meteorpi init`` is to make, and what makes no sense of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from meteorpi_db.database import INSTALLATION_ID_LENGTH
from meteorpi_db.dialects.choice import parse_db_path
from meteorpi_model.errors import ConfigurationError
from meteorpi_server.settings import DEFAULT_CONFIG, Settings

DATA_FOLDER: Final = Path("/var/lib/meteorpi")
"""Where a node that is configured for the whole machine keeps its data."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a node shall be.

    Attributes:
        config: the configuration file to write; None for none.
        settings: values for that file, by key, ``db_password_file`` included.
        db_password: password to keep in a file of its own beside the configuration.
        account: account of the machine that shall own what is made; None for the present one.
        admin: account of the node that may administrate it.
        admin_password: its password; None keeps that of an account that exists.
        export_to: import route of the node to export to.
        export_user: account there.
        export_password: its password.
    """

    config: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    db_password: str | None = field(default=None, repr=False)
    account: str | None = None
    admin: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    export_to: str | None = None
    export_user: str | None = None
    export_password: str | None = field(default=None, repr=False)

    @property
    def is_new(self) -> bool:
        """Whether there is no configuration file yet whose silence means something."""
        return self.config is not None and not self.config.exists()

    def with_defaults(self, present: Settings) -> Plan:
        """The plan with places for data beside a new configuration, where nothing else has been said.

        Paths are made absolute: whoever reads the file may work in another directory.
        """
        if self.config is None:
            return self
        chosen = dict(self.settings)
        if self.is_new:
            folder = data_folder(self.config)
            chosen = {"db_path": present.db_path, "file_store": present.file_store} | chosen
            if chosen["db_path"] == Settings.db_path:
                chosen["db_path"] = f"sqlite:///{folder / 'meteorpi.db'}"
            if chosen["file_store"] == Settings.file_store:
                chosen["file_store"] = str(folder / "files")
        for name, absolute in (("db_path", absolute_db_path), ("file_store", absolute_store)):
            if name in chosen and (self.is_new or chosen[name] != getattr(present, name)):
                chosen[name] = absolute(chosen[name])
        if self.export_to is not None:
            chosen["export"] = True  # harmless beside an export service: a lease keeps one at work
        return replace(self, settings=chosen)

    def check(self) -> None:
        """See that nothing is missing that cannot be guessed.

        Raises:
            ConfigurationError: something is; names the option that gives it.
        """
        check_camera(self.settings.get("installation_id", ""))
        if self.export_to is None:
            return
        check_target(self.export_to)
        for option, value in (
            ("--export-user", self.export_user),
            ("--export-password-file", self.export_password),
        ):
            if not value:
                raise ConfigurationError(f"--export-to needs {option} too")


def data_folder(config: Path) -> Path:
    """Where the data of the node goes that `config` configures, if nobody says otherwise."""
    return DATA_FOLDER if config == DEFAULT_CONFIG else config.absolute().parent


def engine_of(db_path: str) -> str:
    """``sqlite``, ``postgresql`` or ``firebird``."""
    return parse_db_path(db_path).drivername.partition("+")[0]


def is_on_server(db_path: str) -> bool:
    """Whether the database belongs to a server, which wants an account and a password."""
    url = parse_db_path(db_path)
    return bool(url.host) or url.drivername.startswith("postgresql")


def absolute_db_path(db_path: str) -> str:
    """`db_path` so that it means the same in every working directory."""
    url = parse_db_path(db_path)
    if is_on_server(db_path) or (url.drivername != "sqlite" and "://" in db_path):
        return db_path
    return f"sqlite:///{url.database}" if url.drivername == "sqlite" else str(url.database)


def absolute_store(location: str) -> str:
    """The location of a file store so that it means the same in every working directory."""
    return location if ":" in location else str(Path(location).expanduser().absolute())


def data_folders(settings: Settings) -> list[Path]:
    """The directories of this machine that database and contents are made in."""
    folders = [] if ":" in settings.file_store else [Path(settings.file_store).parent]
    if not is_on_server(settings.db_path):
        folders.append(Path(str(parse_db_path(settings.db_path).database)).parent)
    return folders


def check_camera(camera_id: str) -> str:
    """`camera_id`, which may be empty.

    Raises:
        ConfigurationError: it is of another length.
    """
    if camera_id and len(camera_id) != INSTALLATION_ID_LENGTH:
        raise ConfigurationError(
            f"--camera: the camera id of a node has {INSTALLATION_ID_LENGTH} characters, not {len(camera_id)}"
        )
    return camera_id


def check_target(url: str) -> str:
    """`url`, if something can be pushed there.

    Raises:
        ConfigurationError: it cannot.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"--export-to: {url!r} is no import route; they look like https://hub.example/api/import"
        )
    return url
