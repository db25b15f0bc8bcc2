"""Take the schema of a database back to an older version, without losing what cannot be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meteorpi_db.connections import Transactions
from meteorpi_db.migrations.editor import SchemaEditor
from meteorpi_db.migrations.history import FIRST_VERSION, SCHEMA, Schema, Step
from meteorpi_db.migrations.runner import SchemaChange, back_up, make_step, patiently, schema_version
from meteorpi_model.errors import ConfigurationError, ConflictError, SchemaVersionError


def revert_schema(
    transactions: Transactions, version: int, *, force: bool = False, schema: Schema = SCHEMA
) -> SchemaChange:
    """Take back, newest first, the steps that led beyond `version`.

    May be repeated, also after one that was cut off: what a later step has left is taken away then. Whatever
    uses the database has to work with the older schema, or be stopped. An embedded database is copied first.

    Args:
        transactions: of the database.
        version: the one to have afterwards; not above the present one.
        force: take back also what holds data, which is lost.
        schema: has to know the schema of the database, and so be of the newer software.

    Raises:
        ConflictError: data would be lost; nothing was changed.
        ConfigurationError: there is no such version below the present one, or no way back to it.
        SchemaVersionError: the schema is newer than this software, whose steps are needed then.
        UnavailableError: the database does not answer, or other processes keep its tables in use.
    """
    with transactions.backend.schema_lock(transactions.engine):
        with transactions.reading() as connection:
            before = schema_version(connection)
        _require_way(before, version, schema, transactions.backend.label)
        # Also those above the present version: one that was cut off may have left some of its tables.
        steps = [*reversed(schema.steps_after(version))]
        if not force:
            patiently(transactions, lambda editor: _require_no_loss(editor, steps))
        backup = back_up(transactions, before) if before > version else None
        for reached, step in steps:
            description = f"without: {step.description}"
            oldest = schema.oldest_for(reached - 1)
            if reached <= before:
                make_step(transactions, reached - 1, description, _way_back(reached, step, force), oldest)
            else:
                patiently(transactions, _way_back(reached, step, force))
    return SchemaChange(before, version, backup)


def _require_way(before: int, version: int, schema: Schema, label: str) -> None:
    if before > schema.version:
        raise SchemaVersionError(
            f"the database {label} has schema version {before}, but this software knows only versions up to"
            f" {schema.version}: only the newer software knows the way back"
        )
    if not FIRST_VERSION <= version <= before:
        raise ConfigurationError(
            f"the database {label} has schema version {before}: {version} is not below it"
        )
    missing = [step.description for _, step in schema.steps_after(version) if step.downgrade is None]
    if missing:
        raise ConfigurationError(f"there is no way back from: {', '.join(missing)}")


def _require_no_loss(editor: SchemaEditor, steps: list[tuple[int, Step]]) -> None:
    losses: dict[str, int] = {}
    for _, step in steps:
        losses |= step.losses(editor)
    _refuse(losses)


def _refuse(losses: Mapping[str, int]) -> None:
    if losses:
        rows = ", ".join(f"{name} {count}" for name, count in sorted(losses.items()))
        raise ConflictError(f"going back would lose rows: {rows}; make a backup, then say --force")


def _way_back(reached: int, step: Step, force: bool) -> Callable[[SchemaEditor], None]:
    """Undo `step`; looks at the losses again, for rows may have come since."""

    def undo(editor: SchemaEditor) -> None:
        if not force:
            _refuse(step.losses(editor))
        assert step.downgrade is not None, reached  # looked at before
        step.downgrade(editor)

    return undo
