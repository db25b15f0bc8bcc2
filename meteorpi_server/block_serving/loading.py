"""The settings of a block server: those of the node, and what is said under the names of the predecessor.

Source: K-500 of the storage contract.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meteorpi_server.block_serving.names import OPTIONS, VARIABLES
from meteorpi_server.block_serving.reading import (
    Given,
    Sayings,
    nothing,
    read_arguments,
    read_file,
    read_usual_files,
    read_variables,
)
from meteorpi_server.block_serving.translating import DEFAULT_HOST, DEFAULT_PORT, IN_MEMORY, translate
from meteorpi_server.declarations import declarations
from meteorpi_server.settings import Loaded, Settings, load_settings
from meteorpi_server.settings_sources import read_value
from meteorpi_server.standalone_settings import NO_CONTENTS

logger = logging.getLogger("meteorpi.block.server")

_OVERRIDDEN: Final = frozenset({"default", "file"})
"""Origins of settings that an option of the predecessor wins over, wherever that is."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where to look.

    Attributes:
        environ: the environment.
        config: configuration file of the node; None leaves it to the environment.
        overrides: settings of the node given on the command line, as texts.
        file: configuration file of the predecessor; None reads those that are read without being named.
        given: options of the predecessor on the command line.
        project: where its relative paths begin.
    """

    environ: Mapping[str, str]
    config: Path | None = None
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    file: Path | None = None
    given: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    project: Path = dataclasses.field(default_factory=Path.cwd)


@dataclass(frozen=True, kw_only=True)
class BlockServerSettings:
    """What was found.

    Attributes:
        loaded: the settings, and where each came from.
        sayings: what was said under the names of the predecessor.
    """

    loaded: Loaded
    sayings: Sayings

    @property
    def notes(self) -> dict[str, str]:
        """What is different from the predecessor in what was given, by the place that gave it."""
        return {
            given.place: OPTIONS[name].note
            for name, given in self.sayings.options.items()
            if OPTIONS[name].note
        }

    @property
    def forgets_everything(self) -> bool:
        """Whether objects are in memory, and nobody named a database that would remember them."""
        return self.loaded.settings.block_store == IN_MEMORY and "db_path" not in self.loaded.origins

    def tell(self) -> None:
        """Say in the log what was taken from where, and what is different now; never a value."""
        for place, variables in self.loaded.aliases.items():
            logger.info("setting taken from %s: %s", place, variables or "it has no effect")
        for place, note in self.notes.items():
            logger.warning("option %s: %s", place, note)


def load_block_settings(places: Places, *, is_server: bool = True) -> BlockServerSettings:
    """The settings of a block server, or of what looks after its blocks.

    Args:
        places: where to look.
        is_server: whether the address is needed, which has the defaults of the predecessor.

    Raises:
        ConfigurationError: something cannot be read, a value is not allowed, or a name is none.
    """
    sayings = _sayings(places)
    node = load_settings(places.environ, places.config, places.overrides)
    has_store = bool({"file_store", "block_store"} & node.origins.keys())
    translated = translate(sayings.options, has_store=has_store)
    said = {
        name: given
        for name, given in {**translated, **_unless_in_environment(sayings.settings, translated)}.items()
        if given.is_option or node.origins.get(name, "default") in _OVERRIDDEN
    }
    # An option of the command line wins over whatever a file says of the same setting.
    said |= {name: given for name, given in translated.items() if given.is_option}
    defaults = {"host": DEFAULT_HOST, "port": DEFAULT_PORT} if is_server else {}
    loaded = _merged(node, said, defaults)
    ignored = dict.fromkeys(sayings.ignored, "")
    return BlockServerSettings(
        loaded=dataclasses.replace(loaded, aliases={**loaded.aliases, **ignored}), sayings=sayings
    )


def _unless_in_environment(
    settings: Mapping[str, Given], translated: Mapping[str, Given]
) -> dict[str, Given]:
    """What files say of settings by their own names, where no variable of the container says it as well."""
    return {
        name: given
        for name, given in settings.items()
        if name not in translated or translated[name].place not in VARIABLES
    }


def _sayings(places: Places) -> Sayings:
    declared, found = declarations(Settings), nothing()
    if places.file is not None:
        found.add(read_file(places.file, declared))
    else:
        home = Path(places.environ.get("HOME") or "/")
        found.add(read_usual_files(home, places.project, declared))
    found.add(read_variables(places.environ))
    found.add(read_arguments(places.given))
    return found


def _merged(node: Loaded, said: Mapping[str, Given], defaults: Mapping[str, Any]) -> Loaded:
    """The settings of the node with what was said in place of theirs, and other defaults."""
    declared = declarations(Settings)
    values = {name: value for name, value in defaults.items() if name not in node.origins}
    names: dict[str, str] = {}
    for name, given in said.items():
        values[name] = read_value(declared[name], given.text, given.place)
        if not given.is_option:
            others = f"{names[given.place]}, " if given.place in names else ""
            names[given.place] = others + declared[name].variable
    origins = {**node.origins, **dict.fromkeys(said, "alias")}
    if "file_store" not in origins and ("db_path" in said or values.get("block_store") == IN_MEMORY):
        values["file_store"] = NO_CONTENTS  # what keeps blocks alone has no recordings
    settings = dataclasses.replace(node.settings, **values)
    return dataclasses.replace(node, settings=settings, origins=origins, aliases=names)
