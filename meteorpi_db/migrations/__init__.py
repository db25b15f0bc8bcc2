"""The schema and its history: created when missing, carried forward step by step, refused when newer."""

from __future__ import annotations

from meteorpi_db.migrations.editor import SchemaEditor
from meteorpi_db.migrations.history import SCHEMA, Schema, Step
from meteorpi_db.migrations.reverting import revert_schema
from meteorpi_db.migrations.runner import (
    SchemaChange,
    SchemaState,
    drop_schema,
    ensure_schema,
    schema_state,
    schema_version,
)

__all__ = [
    "SCHEMA",
    "Schema",
    "SchemaChange",
    "SchemaEditor",
    "SchemaState",
    "Step",
    "drop_schema",
    "ensure_schema",
    "revert_schema",
    "schema_state",
    "schema_version",
]
