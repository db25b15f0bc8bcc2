"""Settings under the names of the services that archives replace: FPX, and the archives of directories.

Only the standalone archive server and the commands that look after it read them. A file that `FPX_CONFIG`
names is Python to FPX; here its assignments are read and nothing in it is run.

Source:
    The configuration of FPX: variables that begin with ``FPX_``, which is cut off, so that keys that begin
    so themselves have it twice. The variables of the container of the directory service.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import Declaration, as_text, suggestion
from meteorpi_server.settings_file import Source
from meteorpi_server.settings_sources import read_value

FPX_PREFIX: Final = "FPX_"
FPX_FILE: Final = "FPX_CONFIG"
"""The variable that names a file of settings of FPX, which override its variables."""

_TRUE: Final = frozenset({"1", "true", "yes", "on", "y", "yep", "yup", "t", "enable", "enabled"})
_FALSE: Final = frozenset({"0", "false", "no", "off", "n", "f", "disable", "disabled", "none", ""})
_KIBIBYTE: Final = 1024
_TRANSPORTS: Final = {"aiohttp": "auto", "httpx": "httpx-like"}


class Alias(NamedTuple):
    """Another name of a setting.

    Attributes:
        setting: the name of the setting; empty for what is accepted and has no effect.
        text_of: makes a text that the setting reads of one under the other name; fails with `ValueError`.
    """

    setting: str
    text_of: Callable[[str], str] = str


class Taken(NamedTuple):
    """What was found under other names.

    Attributes:
        source: the settings.
        names: for each name that was found, the variable that sets the same; empty for no effect.
    """

    source: Source
    names: dict[str, str]


def flag_text(text: str) -> str:
    """``true`` or ``false`` for the words that FPX took for them.

    Raises:
        ValueError: it is neither.
    """
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return as_text(word in _TRUE)


def debug_text(text: str) -> str:
    """The same where the option itself stood for true.

    Raises:
        ValueError: it is neither.
    """
    return "true" if text.strip() in ("-d", "--debug") else flag_text(text)


def kilobytes_text(text: str) -> str:
    """Bytes for a number of kilobytes, of 1,024 bytes.

    Raises:
        ValueError: it is no number.
    """
    try:
        return str(int(float(text) * _KIBIBYTE))
    except OverflowError as error:
        raise ValueError(f"{text!r} is no size") from error


def transport_text(text: str) -> str:
    """The transport that is like the one FPX called `text`; each does the same here."""
    return _TRANSPORTS.get(text.strip().lower(), text)


FPX_KEYS: Final[Mapping[str, Alias]] = {
    "DEBUG": Alias("archive_debug", flag_text),
    "HOST": Alias("archive_host"),
    "PORT": Alias("archive_port"),
    "DB_URL": Alias("archive_db_url"),
    "DB_EXTRAS": Alias("archive_db_extras"),
    "CORS_ORIGINS": Alias("archive_cors_origins"),
    "JWT_ALGORITHM": Alias("archive_jwt_algorithm"),
    "SIMULTANEOURS_DOWNLOADS_LIMIT": Alias("archive_simultaneous_downloads_limit"),
    "SIMULTANEOUS_DOWNLOADS_LIMIT": Alias("archive_simultaneous_downloads_limit"),
    "FPX_NO_QUEUE": Alias("archive_no_queue", flag_text),
    "FPX_TRANSPORT": Alias("archive_transport", transport_text),
    "FPX_LOG_LEVEL": Alias("archive_log_level"),
    "FPX_PIPE_SILLY_STREAM": Alias("", flag_text),
    "KEEP_ALIVE": Alias("", flag_text),
    "FALLBACK_ERROR_FORMAT": Alias(""),
}
"""Every key of FPX, as its file has it; a misspelled one also as it was meant."""

CONTAINER_NAMES: Final[Mapping[str, Alias]] = {
    "DEBUG": Alias("archive_debug", debug_text),
    "HOST": Alias("archive_host"),
    "PORT": Alias("archive_port"),
    "STORAGE_PATH": Alias("archive_storage_path"),
    "LOG_FILE": Alias("archive_log_file"),
    "CHUNK_SIZE": Alias("archive_chunk_size", kilobytes_text),
    "DELAY": Alias("archive_delay"),
}
"""Every variable of the container of the directory service."""


def read_fpx(environ: Mapping[str, str], declared: Mapping[str, Declaration]) -> Taken:
    """The settings of the variables of FPX, and of its file, which wins.

    Raises:
        ConfigurationError: a name that is none, a value that is not allowed, or a file that cannot be read.
    """
    texts = {
        name: (text, _key_of(name))
        for name, text in environ.items()
        if name.startswith(FPX_PREFIX) and name != FPX_FILE
    }
    taken = Taken(Source({}, {}), {})
    for name, (text, key) in texts.items():
        _take(taken, name, text, FPX_KEYS[key], declared)
    path = environ.get(FPX_FILE, "")
    for key, text, place in _assignments(Path(path)) if path else ():
        if key not in FPX_KEYS:
            raise ConfigurationError(f"{place} {key} is no setting.{suggestion(key, FPX_KEYS)}")
        _take(taken, f"{place} {key}", text, FPX_KEYS[key], declared)
    return taken


def read_container(environ: Mapping[str, str], declared: Mapping[str, Declaration]) -> Taken:
    """The settings of the variables of the directory service; those that are empty set nothing.

    Raises:
        ConfigurationError: a value is not allowed.
    """
    taken = Taken(Source({}, {}), {})
    for name, alias in CONTAINER_NAMES.items():
        if environ.get(name, "").strip():
            _take(taken, name, environ[name], alias, declared)
    return taken


def _key_of(variable: str) -> str:
    """The key that a variable of FPX sets; the prefix that some keys have anyhow need not be doubled."""
    key = variable.removeprefix(FPX_PREFIX)
    for known in (key, variable):
        if known in FPX_KEYS:
            return known
    hint = suggestion(variable, [FPX_FILE, *(FPX_PREFIX + each for each in FPX_KEYS)])
    raise ConfigurationError(f"there is no setting {variable}.{hint}")


def _take(taken: Taken, place: str, text: str, alias: Alias, declared: Mapping[str, Declaration]) -> None:
    try:
        meant = alias.text_of(text)
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error
    taken.names[place] = declared[alias.setting].variable if alias.setting else ""
    if alias.setting:
        taken.source.values[alias.setting] = read_value(declared[alias.setting], meant, place)


def _assignments(path: Path) -> Iterator[tuple[str, str, str]]:
    """Key, value as a text, and place of each assignment of a Python file, which is not run.

    Raises:
        ConfigurationError: it cannot be read, or has anything but assignments of plain values.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{FPX_FILE}: cannot read {path}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise ConfigurationError(f"{FPX_FILE}: {path} is not Python: {error}") from error
    for node in tree.body:
        place = f"{path}, line {node.lineno}:"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a text for people
        match node:
            case ast.Assign(targets=[ast.Name(id=key)], value=value):
                yield key, _literal_text(value, f"{place} {key}"), place
            case _:
                raise ConfigurationError(f"{place} only assignments such as PORT = 8000 are read here")


def _literal_text(node: ast.expr, place: str) -> str:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{place} must be a plain value: nothing is run here") from error
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except TypeError as error:
            raise ConfigurationError(f"{place} must hold texts and numbers: {error}") from error
    if isinstance(value, list | tuple | set):
        return ",".join(map(str, value))
    return "" if value is None else as_text(value)
