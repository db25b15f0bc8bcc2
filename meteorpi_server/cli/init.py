"""``meteorpi init``: from nothing to a node that is configured, by questions or unattended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError, NotAuthenticatedError
from meteorpi_server.cli.config_writing import (
    SECRET_MODE,
    Account,
    complete_text,
    differences,
    write_atomically,
    write_config,
)
from meteorpi_server.cli.exports import add_exports, new_export
from meteorpi_server.cli.installing import ADMINISTRATOR_ROLES, add_administrator
from meteorpi_server.cli.interview import ask_for_config, ask_for_node
from meteorpi_server.cli.node_plan import Plan, data_folders
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.passwords import first_line, password_options
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.declarations import PREFIX
from meteorpi_server.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Loaded, load_settings

_SETTINGS: Final = ("db_path", "db_user", "db_password_file", "file_store", "installation_id", "url_path")


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing; what is not said keeps its default.")
@click.option(
    "--replace", is_flag=True, help="Write a new configuration file; the old one is kept beside it."
)
@click.option("--role", type=click.Choice(["station", "hub"]), help="What to ask about, and suggest.")
@click.option("--account", metavar="NAME", help="As root: let this account of the machine own the node.")
@click.option("--db-path", metavar="PATH", help="Database, for the configuration file.")
@click.option("--db-user", metavar="NAME", help="Account on the database server.")
@click.option("--db-password-file", metavar="FILE", help="File with its password, which stays where it is.")
@click.option("--file-store", metavar="PATH", help="Directory, or URL, of the file store.")
@click.option("--camera", "installation_id", metavar="ID", help="Camera id of the node.")
@click.option("--url-path", metavar="PATH", help="Path below which it is served, such as /api.")
@click.option("--admin", help="Also create this account of the node, which may administrate it.")
@password_options
@click.option("--export-to", metavar="URL", help="Export everything to this import route.")
@click.option("--export-user", metavar="NAME", help="Account there.")
@click.option(
    "--export-password-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Take the password there from the first line of FILE.",
)
@json_option
@pass_setup
def init(setup: Setup, output: Output, yes: bool, replace: bool, role: str | None, **options: Any) -> None:
    """Set up a node: configuration file, database, file store, administrator, export.

    Asks for everything when it is called at a terminal; otherwise, and with --yes, it takes what the options
    say. A configuration file is written where one is named: meteorpi --config FILE init. Without one the
    present settings count. Does nothing to what is there already, and brings an older database up to date.
    """
    is_attended = not (yes or output.as_json) and sys.stdin is not None and sys.stdin.isatty()
    plan = plan_of(setup.config, options)
    if is_attended:
        plan = ask_for_config(plan)
    present = read_present(setup, plan.config)
    if is_attended:
        plan = ask_for_node(plan, present.settings, role)
    plan = plan.with_defaults(present.settings)
    plan.check()
    account = None if plan.account is None else Account(plan.account)
    if plan.config is not None:
        setup = configure(setup, output, plan, present, account, _permission(replace, is_attended))
    if account is not None:
        account.make_folders(data_folders(setup.settings))
        account.become()
    with setup.open_database(create=True) as database:
        apply_to(database, plan, may_ask=is_attended)
        facts = _facts(database, plan.config)
    output.facts(facts)
    if is_attended and plan.config not in (setup.config_of_environment, DEFAULT_CONFIG):
        output.warn(f"other commands find the configuration by: export {CONFIG_VARIABLE}={plan.config}")
    if not facts["administrators"]:
        output.warn("nobody can administrate this node over HTTP yet: meteorpi init --admin NAME")


def plan_of(config: Path | None, options: Mapping[str, Any]) -> Plan:
    """What the options of ``init`` ask for.

    Raises:
        ConfigurationError: there are settings among them, and no file to write them to.
    """
    rest = dict(options)
    settings = {name: value for name in _SETTINGS if (value := rest.pop(name)) is not None}
    if settings and config is None:
        raise ConfigurationError(
            "say which file keeps these settings: meteorpi --config /etc/meteorpi/meteorpi.toml init ..."
        )
    if "db_password_file" in settings:
        settings["db_password_file"] = str(Path(settings["db_password_file"]).absolute())
    secret = rest.pop("export_password_file")
    export_password = None if secret is None else first_line(secret.read_text(encoding="utf-8"))
    return Plan(
        config=config,
        settings=settings,
        admin_password=rest.pop("password"),
        export_password=export_password,
        **rest,
    )


def read_present(setup: Setup, config: Path | None) -> Loaded:
    """The settings to start from: those of the file alone where there is one, else those in force.

    What the environment sets at the moment is not meant for a file that says otherwise.
    """
    if config is not None and config.exists():
        return load_settings({}, config)
    return setup.with_config(None).loaded


def configure(
    setup: Setup,
    output: Output,
    plan: Plan,
    present: Loaded,
    account: Account | None,
    may_replace: Callable[[str], bool],
) -> Setup:
    """Write the configuration file of `plan`, unless it says all that already; what counts from now on.

    Raises:
        ConfigurationError: it says something else, and may not be replaced, or cannot be written.
    """
    path = plan.config
    assert path is not None  # the caller has looked
    wanted = dict(plan.settings)
    secret = path.absolute().with_name("db_password")
    if plan.db_password is not None:
        wanted["db_password_file"] = str(secret)
    found = differences(present, wanted) if path.exists() else []
    if found:
        question = f"{path} says otherwise about {', '.join(found)}"
        if not may_replace(question):
            raise ConfigurationError(f"{question}; --replace writes a new one and keeps the old")
    is_written = bool(found) or not path.exists()
    password = plan.db_password
    if is_written and "db_password_file" not in wanted and (password := present.password_in_file):
        wanted["db_password_file"] = str(
            secret
        )  # it was in the old file, and is never written into a new one
    if password is not None and (is_written or password != present.settings.db_password):
        write_atomically(secret, password + "\n", SECRET_MODE)
        if account is not None:
            account.give(secret)
    if is_written:
        kept = write_config(path, complete_text(present, wanted))
        if account is not None:
            account.let_read(path)
        output.warn(f"wrote {path}" + (f"; the former one is {kept}" if kept else ""))
    after = setup.with_config(path)
    _warn_of_environment(output, after.loaded, wanted)
    return after


def apply_to(database: MeteorDatabase, plan: Plan, *, may_ask: bool) -> None:
    """Make the administrator and the exports of `plan`, where they are not there yet.

    Raises:
        ConfigurationError: a new account has no password, and nobody can be asked.
    """
    if plan.admin and not _is_administrator(database, plan.admin, plan.admin_password):
        is_new = all(user.user_id != plan.admin for user in database.get_users())
        if is_new and plan.admin_password is None and not may_ask:
            raise ConfigurationError(f"the new account {plan.admin!r} needs a password: --password-file FILE")
        add_administrator(database, plan.admin, plan.admin_password)
    if plan.export_to is None:
        return
    targets = {each.target_url for each in database.get_export_configurations()}
    if plan.export_to not in targets:
        add_exports(
            database,
            [
                new_export(kind, plan.export_to, plan.export_user or "", plan.export_password or "")
                for kind in ("event", "file")
            ],
        )


def _is_administrator(database: MeteorDatabase, user_id: str, password: str | None) -> bool:
    """Whether the account is what it is meant to become; a password that is not given counts as right."""
    present = next((user for user in database.get_users() if user.user_id == user_id), None)
    if present is None or not set(ADMINISTRATOR_ROLES) <= set(present.get_roles()):
        return False
    try:
        return password is None or database.get_user(user_id, password) is not None
    except NotAuthenticatedError:
        return False


def _permission(replace: bool, is_attended: bool) -> Callable[[str], bool]:
    if replace or not is_attended:
        return lambda question: replace
    return lambda question: click.confirm(f"{question}. Write a new one, and keep the old?", err=True)


def _warn_of_environment(output: Output, loaded: Loaded, wanted: Mapping[str, Any]) -> None:
    is_kept = "db_password_file" in loaded.secret_files
    if loaded.origins.get("db_password") == "environment" and not is_kept:
        output.warn("db_password comes from the environment and is not written; --db-password-file keeps it")
    for name, value in wanted.items():
        if loaded.origins.get(name) == "environment" and getattr(loaded.settings, name) != value:
            output.warn(f"{PREFIX}{name.upper()} in the environment overrides {name} of the file")


def _facts(database: MeteorDatabase, config: Path | None) -> dict[str, Any]:
    return {
        "configuration": None if config is None else str(config),
        "database": database.transactions.backend.label,
        "schema_version": database.get_schema_version(),
        "file_store": str(database.file_store_path),
        "installation_id": database.installation_id,
        "administrators": [user.user_id for user in database.get_users() if user.has_role("camera_admin")],
    }
