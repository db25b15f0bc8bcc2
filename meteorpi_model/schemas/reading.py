"""Read the JSON Schemas that lie beside this module."""

from __future__ import annotations

import json
from importlib import resources

from meteorpi_model.values import JsonObject

FOLDER = "meteorpi_model.schemas"


def names() -> list[str]:
    """The documents that have a schema, such as ``file_record``."""
    folder = resources.files(FOLDER)
    return sorted(
        entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")
    )


def load(name: str) -> JsonObject:
    """The schema of document `name`; `KeyError` when there is none."""
    if name not in names():
        raise KeyError(name)
    schema: JsonObject = json.loads(resources.files(FOLDER).joinpath(f"{name}.json").read_text("utf-8"))
    return schema
