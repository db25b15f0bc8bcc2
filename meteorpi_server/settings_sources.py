"""Settings of the environment, and of the options of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import PREFIX, Declaration, suggestion
from meteorpi_server.settings_file import Source, read_secret

CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
"""The variable that names another configuration file; empty for none."""

_FILE_SUFFIX: Final = "_FILE"


def read_environment(environ: Mapping[str, str], declared: Mapping[str, Declaration]) -> Source:
    """The settings of the variables that begin with ``METEORPI_``.

    Raises:
        ConfigurationError: one of them is no setting, or has a value that is not allowed.
    """
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


def read_options(options: Mapping[str, str], declared: Mapping[str, Declaration]) -> Source:
    """The settings that are given as options, by the name of the setting.

    Raises:
        ConfigurationError: a value is not allowed.
    """
    return Source(
        {
            name: read_value(declared[name], text, f"--{name.replace('_', '-')}")
            for name, text in options.items()
        },
        {},
    )


def read_value(declaration: Declaration, text: str, place: str) -> Any:
    """The value that `text` gives to a setting.

    Raises:
        ConfigurationError: it is not allowed; the message begins with `place`.
    """
    try:
        return declaration.from_text(text)
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error


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
        source.values[declaration.name] = read_value(declaration, text, variable)
