"""What files, a container and a command line say about a block server, as texts.

Files are those of the predecessor: assignments in Python, of which nothing is run, or YAML and JSON with the
section ``qabel: block:``. What is found in several places is merged, the later place wins.

Source: A.13, the first point of A.14 and K-500 of the storage contract.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_serving.names import (
    OPTIONS,
    SPELLINGS,
    VARIABLES,
    is_of_file,
    option_called,
    require_known,
)
from meteorpi_server.declarations import Declaration, as_text, suggestion
from meteorpi_server.settings_file import read_secret

SECTION: Final = ("qabel", "block")
APPLICATION_SERVER: Final = "uwsgi"
"""The part of the section that is for the application server alone."""

SYSTEM_DIRECTORY: Final = Path("/etc")
_NAMES: Final = ("invoke", "qabel")
_SUFFIXES: Final = (".yaml", ".yml", ".json", ".py")
_PATHS: Final = frozenset({"local-storage", "logging-config"})


class Given(NamedTuple):
    """What was said.

    Attributes:
        text: the value.
        place: where, for messages.
        is_option: whether on the command line.
    """

    text: str
    place: str
    is_option: bool = False


class Sayings(NamedTuple):
    """What one or more places say.

    Attributes:
        options: by the name of the option of the predecessor.
        settings: by the name of a setting of the node.
        ignored: places of what has no effect here.
    """

    options: dict[str, Given]
    settings: dict[str, Given]
    ignored: list[str]

    def add(self, later: Sayings) -> None:
        """Take over what is said later, which wins."""
        self.options.update(later.options)
        self.settings.update(later.settings)
        self.ignored.extend(later.ignored)


def nothing() -> Sayings:
    """What a place says that says nothing."""
    return Sayings({}, {}, [])


def read_variables(environ: Mapping[str, str]) -> Sayings:
    """What the variables of the container say; those that are empty say nothing.

    Raises:
        ConfigurationError: one that seems to be meant is none.
    """
    require_known(environ)
    found = nothing()
    for variable, name in VARIABLES.items():
        if environ.get(variable, "").strip():
            found.options[name] = Given(environ[variable].strip(), variable)
    return found


def read_arguments(given: Mapping[str, str | None]) -> Sayings:
    """What was given on the command line, by the name of the option."""
    found = nothing()
    for name, text in given.items():
        if text:
            _take_option(found, name, Given(text, f"--{name.replace('_', '-')}", is_option=True))
    return found


def read_file(path: Path, declared: Mapping[str, Declaration]) -> Sayings:
    """What a file says that was named: the section in YAML and JSON, or assignments of options.

    Relative paths in a section begin at the directory of the file.

    Raises:
        ConfigurationError: it cannot be read, or says what cannot be said.
    """
    document = _document(path)
    if path.suffix not in _SUFFIXES or (path.suffix == ".py" and SECTION[0] not in document):
        return _sayings(document, str(path), Path(), declared)
    return _sayings(_section(document, path, is_required=True), str(path), path.parent, declared)


def read_usual_files(home: Path, project: Path, declared: Mapping[str, Declaration]) -> Sayings:
    """What the files say that are read without being named: of the machine, of the account, of the project.

    Args:
        home: directory of the account.
        project: directory that relative paths begin at.
        declared: every setting.

    Raises:
        ConfigurationError: one of them cannot be read, or says what cannot be said.
    """
    found = nothing()
    for path in _usual_files(home, project):
        found.add(_sayings(_section(_document(path), path), str(path), project, declared))
    return found


def _usual_files(home: Path, project: Path) -> Iterator[Path]:
    """Of each name in each place the first that is there, as the predecessor's tasks chose."""
    for directory, start in ((SYSTEM_DIRECTORY, ""), (home, "."), (project, "")):
        for name in _NAMES:
            paths = (directory / f"{start}{name}{suffix}" for suffix in _SUFFIXES)
            yield from [path for path in paths if path.is_file()][:1]


def _document(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    document = _parse(text, path)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigurationError(f"{path} holds no names with values")
    return document


def _parse(text: str, path: Path) -> object:
    try:
        if path.suffix == ".json":
            return json.loads(text)
        return _yaml(text, path) if path.suffix in (".yaml", ".yml") else dict(_assignments(text, path))
    except ValueError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _yaml(text: str, path: Path) -> object:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{path} needs: pip install 'meteorpi[yaml]'") from error
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error


def _assignments(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}: this is not Python") from error
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, _literal(value, f"{path}, line {node.lineno}: {name}")
            case ast.Expr(value=ast.Constant()):
                continue  # a text for people
            case _:
                raise ConfigurationError(
                    f"{path}, line {node.lineno}: only assignments such as port = 8888 are read"
                )


def _literal(node: ast.expr, place: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{place} must be a plain value: nothing is run here") from error


def _section(document: Mapping[str, Any], path: Path, *, is_required: bool = False) -> dict[str, Any]:
    """The section of the block server; empty where there is none and none is required."""
    found: Any = document
    for name in SECTION:
        found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            if is_required:
                raise ConfigurationError(f"{path} has no section {': '.join(SECTION)}:")
            return {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: the section {': '.join(SECTION)}: holds no names with values")
    return found


def _sayings(
    values: Mapping[Any, Any], path: str, project: Path, declared: Mapping[str, Declaration]
) -> Sayings:
    found = nothing()
    for key, value in values.items():
        name, place = str(key), f"{path}: {key}"
        if name == APPLICATION_SERVER:
            found.ignored.append(place)
        elif value is not None and value != "":
            _take(found, name, Given(_text(value, place), place), project, declared)
    return found


def _text(value: object, place: str) -> str:
    if isinstance(value, bool | int | float | str):
        return as_text(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise ConfigurationError(f"{place} must be a plain value")


def _take(
    found: Sayings, name: str, given: Given, project: Path, declared: Mapping[str, Declaration]
) -> None:
    setting = name.replace("-", "_")
    option = option_called(name)
    if option is not None:
        if option.name in _PATHS or is_of_file(name):
            given = given._replace(text=_from(project, given.text))
        _take_option(found, name, given)
    elif setting in declared:
        found.settings[setting] = given
    elif setting.removesuffix("_file") in declared and declared[setting.removesuffix("_file")].is_secret:
        secret = read_secret(given.place, _from(project, given.text))
        found.settings[setting.removesuffix("_file")] = given._replace(text=secret)
    else:
        hint = suggestion(name.replace("_", "-"), [*OPTIONS, *SPELLINGS]) or suggestion(setting, declared)
        raise ConfigurationError(f"{given.place} is no option of the block server.{hint}")


def _take_option(found: Sayings, name: str, given: Given) -> None:
    option = option_called(name)
    assert option is not None
    if option.is_secret and is_of_file(name):
        given = given._replace(text=read_secret(given.place, given.text))
    found.options[option.name] = given


def _from(project: Path, path: str) -> str:
    """A path that does not depend on where the process is started; URLs stay as they are."""
    return path if "://" in path else str(project / path)
