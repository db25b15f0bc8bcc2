"""``meteorpi exports``: what is pushed to other nodes, and how that goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, ExportConfiguration, FileRecordSearch
from meteorpi_model.errors import NotFoundError
from meteorpi_server.cli.output import Output, Row, json_option
from meteorpi_server.cli.parameters import ID
from meteorpi_server.cli.passwords import ask_password, password_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

_COLUMNS = (
    "name",
    "type",
    "target_url",
    "state",
    "pending",
    "total",
    "failures",
    "last_success",
    "last_error",
)
_KINDS = ("event", "file")
_CA_FILE = click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Trust the certificate authorities in FILE instead.",
    metavar="FILE",
)


@click.group()
def exports() -> None:
    """Export configurations: what this node pushes to others."""


@exports.command("list")
@json_option
@pass_setup
def list_exports(setup: Setup, output: Output) -> None:
    """List the configurations with their state: tasks, failures, and why they failed."""
    with setup.open_database() as database:
        rows = export_rows(database)
    output.rows(rows, ("config_id", *_COLUMNS))


@exports.command("add")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("target_url")
@click.argument("user_id")
@click.option("--name", help="Name for people; the kind and the target if not given.")
@click.option("--description", default="", help="Text for people.")
@click.option("--camera", "cameras", multiple=True, help="Of this camera only; may be repeated.")
@click.option("--disabled", is_flag=True, help="Store it, but do not export yet.")
@_CA_FILE
@password_options
@json_option
@pass_setup
def add_export(
    setup: Setup,
    output: Output,
    kind: str,
    target_url: str,
    user_id: str,
    name: str | None,
    description: str,
    cameras: tuple[str, ...],
    disabled: bool,
    ca_file: str | None,
    password: str | None,
) -> None:
    """Push events, or files that belong to no event, to the import route TARGET_URL as USER_ID."""
    configuration = new_export(kind, target_url, user_id, password or _ask(user_id), list(cameras) or None)
    configuration.name = name or configuration.name
    configuration.description = description
    configuration.enabled = not disabled
    with setup.open_database() as database:
        _store(database, configuration, "export.create")
        if configuration.config_id is not None:
            database.set_export_ca_file(configuration.config_id, ca_file)
    output.facts(_without_password(configuration))


@exports.command("set")
@click.argument("config_id", type=ID)
@click.option("--enable/--disable", "is_enabled", default=None, help="Take it up, or stop it.")
@click.option("--target", "target_url", help="Complete URL of the import route.")
@click.option("--user", "user_id", help="Account at the target.")
@click.option("--name", help="Name for people.")
@click.option("--description", help="Text for people.")
@_CA_FILE
@click.option("--usual-cas", is_flag=True, help="Trust the usual certificate authorities again.")
@password_options
@json_option
@pass_setup
def set_export(
    setup: Setup,
    output: Output,
    config_id: UUID,
    is_enabled: bool | None,
    ca_file: str | None,
    usual_cas: bool,
    password: str | None,
    **texts: Any,
) -> None:
    """Change the given parts of a configuration; a password that is not given stays as it is."""
    with setup.open_database() as database:
        configuration = _require(database, config_id)
        configuration.password = password
        if is_enabled is not None:
            configuration.enabled = is_enabled
        for name, value in texts.items():
            if value is not None:
                setattr(configuration, name, value)
        _store(database, configuration, "export.update")
        if ca_file or usual_cas:
            database.set_export_ca_file(config_id, None if usual_cas else ca_file)
    output.facts(_without_password(configuration))


@exports.command("delete")
@click.argument("config_id", type=ID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_setup
def delete_export(setup: Setup, config_id: UUID, yes: bool) -> None:
    """Delete a configuration and its tasks; what was sent stays sent."""
    with setup.open_database() as database:
        configuration = _require(database, config_id)
        if not yes:
            click.confirm(
                f"Delete {configuration.name!r} to {configuration.target_url}?", abort=True, err=True
            )
        database.delete_export_configuration(config_id)
        database.record_audit(ACTOR, "export.delete", config_id.hex)


@exports.command("defaults")
@click.argument("target_url")
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@password_options
@json_option
@pass_setup
def default_exports(
    setup: Setup, output: Output, target_url: str, user_id: str, yes: bool, password: str | None
) -> None:
    """Replace all configurations by the two standard ones: every event, and every other file.

    Shows those that there are and asks first. Both are without limit, and enabled.
    """
    with setup.open_database() as database:
        present = export_rows(database)
        if present and not yes:
            Output().rows(present, _COLUMNS)
            click.confirm(f"Replace these {len(present)} configurations?", abort=True, err=True)
        password = password or _ask(user_id)
        replace_exports(database, [new_export(kind, target_url, user_id, password) for kind in _KINDS])
        output.rows(export_rows(database), _COLUMNS)


def new_export(
    kind: str, target_url: str, user_id: str, password: str, camera_ids: list[str] | None = None
) -> ExportConfiguration:
    """An enabled configuration, not stored yet, for everything of one kind, without limit."""
    search: EventSearch | FileRecordSearch = (
        EventSearch(camera_ids, limit=0) if kind == "event" else FileRecordSearch(camera_ids, limit=0)
    )
    name = f"{kind}s to {target_url}"
    return ExportConfiguration(target_url, user_id, password, search, name, "", enabled=True)


def add_exports(database: MeteorDatabase, configurations: list[ExportConfiguration]) -> None:
    """Store `configurations` beside those that there are."""
    for configuration in configurations:
        _store(database, configuration, "export.create")


def replace_exports(database: MeteorDatabase, configurations: list[ExportConfiguration]) -> None:
    """Store `configurations` and delete all that were there before."""
    old = database.get_export_configurations()
    add_exports(database, configurations)
    for configuration in old:
        if configuration.config_id is not None:
            database.delete_export_configuration(configuration.config_id)
            database.record_audit(ACTOR, "export.delete", configuration.config_id.hex)


def export_rows(database: MeteorDatabase) -> list[Row]:
    """Each configuration with its state, newest first, without passwords."""
    states = {state.config_id: state for state in database.get_export_states()}
    rows: list[Row] = []
    for configuration in database.get_export_configurations():
        state = states[configuration.config_id] if configuration.config_id else None
        facts = {} if state is None else asdict(state)
        word = "enabled" if configuration.enabled else "suspended" if facts.get("suspended") else "disabled"
        rows.append(_without_password(configuration) | facts | {"name": configuration.name, "state": word})
    return rows


def _store(database: MeteorDatabase, configuration: ExportConfiguration, action: str) -> None:
    database.create_or_update_export_configuration(configuration)
    if configuration.config_id is not None:
        database.record_audit(ACTOR, action, configuration.config_id.hex, detail=configuration.target_url)


def _require(database: MeteorDatabase, config_id: UUID) -> ExportConfiguration:
    configuration = database.get_export_configuration(config_id)
    if configuration is None:
        raise NotFoundError(f"there is no export configuration {config_id.hex}", entity_id=config_id)
    return configuration


def _without_password(configuration: ExportConfiguration) -> dict[str, object]:
    return {name: value for name, value in configuration.as_dict().items() if name != "password"}


def _ask(user_id: str) -> str:
    return ask_password(f"Password of {user_id} at the target", is_new=False)
