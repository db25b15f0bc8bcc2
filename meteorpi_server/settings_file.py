"""The configuration file: TOML, one key for each setting that differs from its default.

Reading gives plain values under the names of settings; what is wrong is named with file, line and key.
Writing gives a complete file in which whatever keeps its default is a comment.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import Declaration, suggestion

_WIDTH: Final = 100
_HEAD: Final = """\
# Configuration of a MeteorPi node.
#
# A line that begins with "#" is a comment; each setting that is commented out shows its default.
# METEORPI_<NAME> in the environment, the name in capitals, overrides the file. `meteorpi settings` shows what
# is in force, and why; `meteorpi doctor` finds what does not work.
"""


class Source(NamedTuple):
    """What one place says about settings.

    Attributes:
        values: by the name of the setting.
        secret_files: the file that a secret came from, by its key, such as ``db_password_file``.
    """

    values: dict[str, Any]
    secret_files: dict[str, str]


def read_file(path: Path, declared: Mapping[str, Declaration]) -> Source:
    """The settings that the file sets.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or holds what is no setting.
    """
    text = _read_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}; texts stand in quotes") from error
    source = Source({}, {})
    for key, value in table.items():
        place = f"{path}{_line_of(key, text)}: {key}"
        name, read = _take(place, key, value, declared)
        if name in source.values:
            raise ConfigurationError(f"{place}: {name} is set twice; keep it or {name}_file")
        source.values[name] = read
        if key != name:
            source.secret_files[key] = str(value)
    return source


def read_secret(place: str, path: str) -> str:
    """The secret in a file: its text without the end of the line.

    Raises:
        ConfigurationError: it cannot be read; the message begins with `place`.
    """
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place}: cannot read {path}: {error}") from error


def as_toml(declared: Mapping[str, Declaration], values: Mapping[str, Any]) -> str:
    """A complete file that sets `values`; everything else stands there as a comment.

    Args:
        declared: every setting.
        values: those to set, by name; a secret is never written, but the name of its file under
            ``<name>_file`` is.
    """
    parts = [_HEAD]
    for name, declaration in declared.items():
        if declaration.heading:
            parts.append(f"\n# {declaration.heading}\n# {'-' * len(declaration.heading)}\n")
        parts.append(_comment(declaration.explanation))
        key, default = (
            (declaration.file_key, f"/etc/meteorpi/{name}")
            if declaration.is_secret
            else (name, declaration.default)
        )
        is_set = key in values and (declaration.is_secret or values[key] != default)
        parts.append(f"{key} = {_literal(values[key])}\n" if is_set else f"# {key} = {_literal(default)}\n")
    return "".join(parts)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except PermissionError as error:
        raise ConfigurationError(
            f"this account may not read {path}: use the node's account, or join its group"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration {path}: {error.strerror}; `meteorpi init` writes one"
        ) from error


def _take(place: str, key: str, value: object, declared: Mapping[str, Declaration]) -> tuple[str, Any]:
    """The setting that `key` sets, and to what."""
    by_file = {each.file_key: each for each in declared.values() if each.is_secret}
    if key in by_file:
        if not isinstance(value, str):
            raise ConfigurationError(f"{place} must be the path of a file, in quotes")
        return by_file[key].name, read_secret(place, value)
    if key not in declared:
        if isinstance(value, dict):
            raise ConfigurationError(f"{place}: there are no tables here; remove the line [{key}]")
        hint = suggestion(key, [*declared, *by_file])
        raise ConfigurationError(f"{place} is no setting.{hint} `meteorpi settings` lists them all")
    try:
        return key, declared[key].from_toml(value)
    except ValueError as error:
        raise ConfigurationError(f"{place} {error}") from error


def _line_of(key: str, text: str) -> str:
    """Where `key` stands, as far as that can be told from the text; TOML readers do not say."""
    pattern = re.compile(rf"""^\s*(?:["']?{re.escape(key)}["']?\s*[=.]|\[+\s*{re.escape(key)}\s*[\].])""")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return f", line {number}"
    return ""


def _comment(text: str) -> str:
    return "\n" + "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2))


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # The escapes of JSON are those of TOML, which also wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
