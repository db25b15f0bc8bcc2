"""JSON Schemas (2020-12) of the wire documents, one file each, named ``urn:meteorpi:schema:<name>``."""

from __future__ import annotations

import json
from importlib import resources

from meteorpi_model.values import JsonObject

URN = "urn:meteorpi:schema:"


def names() -> list[str]:
    """The documents that have a schema, such as ``file_record``."""
    folder = resources.files(__name__)
    return sorted(
        entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")
    )


def load(name: str) -> JsonObject:
    """The schema of document `name`; `KeyError` when there is none."""
    if name not in names():
        raise KeyError(name)
    schema: JsonObject = json.loads(resources.files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
    return schema
