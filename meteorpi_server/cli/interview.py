"""The questions of ``meteorpi init``: one sentence about each, and a default that can be kept with Enter."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from meteorpi_model.errors import MeteorError
from meteorpi_server.cli.node_plan import (
    Plan,
    absolute_db_path,
    absolute_store,
    check_camera,
    check_target,
    data_folder,
    engine_of,
    is_on_server,
)
from meteorpi_server.cli.passwords import ask_password
from meteorpi_server.settings import DEFAULT_CONFIG, Settings

_ENGINES: Final = ("sqlite", "postgresql", "firebird")
_ROLES: Final = ("station", "hub")
_USUAL_ACCOUNT: Final = "meteorpi"


def ask_for_config(plan: Plan) -> Plan:
    """The plan with a configuration file, and the account that shall own the node."""
    _explain(
        "This sets up a node: a configuration file, a database, a file store and an account.",
        "Enter keeps what is shown in brackets.",
    )
    if plan.config is None:
        is_usual = DEFAULT_CONFIG.exists() or os.access(DEFAULT_CONFIG.parent.parent, os.W_OK)
        _explain("All settings stand in one file; commands find it by themselves only in the usual place.")
        default = DEFAULT_CONFIG if is_usual else Path("meteorpi.toml")
        plan = replace(plan, config=Path(_ask("Configuration file", str(default))).expanduser().absolute())
    if plan.account is None and os.geteuid() == 0 and _exists(_USUAL_ACCOUNT):
        _explain("The services run as an account of the machine, which has to own the data.")
        plan = replace(plan, account=_ask("Account of the services", _USUAL_ACCOUNT))
    return plan


def ask_for_node(plan: Plan, present: Settings, role: str | None) -> Plan:
    """The plan with an answer to every question that no option has answered.

    Args:
        plan: what the options say, and which configuration file.
        present: the settings in force, which are offered as answers.
        role: ``station`` or ``hub``; None asks for it.
    """
    if role is None:
        _explain("A station records with a camera and sends to a hub; a hub receives from stations.")
        role = _ask_choice("Is this a station or a hub?", _ROLES, "station")
    plan = _ask_for_places(plan, present, role)
    if role == "station":
        _ask_setting(
            plan,
            "installation_id",
            "The camera id names what this node records; empty takes the one of the network hardware.",
            "Camera id, 12 characters",
            present.installation_id,
            check_camera,
        )
    _ask_setting(
        plan,
        "url_path",
        "The samples for Apache, LigHTTPD and nginx serve the node below /api.",
        "Path below which it is served",
        present.url_path or ("/api" if plan.is_new else ""),
    )
    plan = _ask_for_administrator(plan)
    return _ask_for_export(plan) if role == "station" else plan


def _ask_for_places(plan: Plan, present: Settings, role: str) -> Plan:
    folder = Path.cwd() if plan.config is None else data_folder(plan.config)
    if "db_path" not in plan.settings:
        plan.settings["db_path"] = _ask_for_database(plan, present, role, folder)
    if is_on_server(plan.settings["db_path"]):
        plan = _ask_for_login(plan, present)
    is_kept = not plan.is_new or present.file_store != Settings.file_store
    _ask_setting(
        plan,
        "file_store",
        "Pictures and films are kept in a directory; it needs most of the room.",
        "Directory of the file store",
        present.file_store if is_kept else str(folder / "files"),
        absolute_store,
    )
    return plan


def _ask_for_database(plan: Plan, present: Settings, role: str, folder: Path) -> str:
    _explain(
        "SQLite is one file and suits a station. A hub of many stations wants a PostgreSQL server.",
        "Firebird is for those who have it already.",
    )
    is_kept = not plan.is_new or present.db_path != Settings.db_path
    usual = engine_of(present.db_path) if is_kept else "postgresql" if role == "hub" else "sqlite"
    engine = _ask_choice("Database engine", _ENGINES, usual)
    places = {
        "sqlite": ("File of the database", str(folder / "meteorpi.db")),
        "postgresql": ("Address of the database", "postgresql://localhost/meteorpi"),
        "firebird": ("File of the database, or host:/path on a server", str(folder / "meteorpi.fdb")),
    }
    question, default = places[engine]
    if is_kept and engine == usual:
        default = present.db_path
    return str(_ask(question, default, absolute_db_path))


def _ask_for_login(plan: Plan, present: Settings) -> Plan:
    _ask_setting(
        plan, "db_user", "The server wants to know who is there.", "Account on the server", present.db_user
    )
    if plan.db_password is not None or "db_password_file" in plan.settings:
        return plan
    _explain("The password goes into a file of its own that only the node's account can read.")
    hint = " (empty keeps what is set)" if present.db_password else ""
    password = click.prompt(
        f"Password on the server{hint}", default="", hide_input=True, show_default=False, err=True
    )
    return replace(plan, db_password=password or None)


def _ask_for_administrator(plan: Plan) -> Plan:
    if plan.admin is None:
        _explain("An administrator manages accounts and exports over HTTP; there may be one already.")
        plan = replace(plan, admin=_ask("Administrator (empty for none)", "") or None)
    return plan


def _ask_for_export(plan: Plan) -> Plan:
    target = plan.export_to
    if target is None:
        _explain("What is recorded can be pushed to a hub; its operator gives you address and account.")
        target = _ask(
            "Import route, such as https://hub.example/api/import (empty for none)",
            "",
            lambda text: check_target(text) if text else "",
        )
    if not target:
        return plan
    user = plan.export_user or _ask("Account there", None)
    password = plan.export_password or ask_password(f"Password of {user} there", is_new=False)
    return replace(plan, export_to=target, export_user=user, export_password=password)


def _ask_setting(
    plan: Plan,
    name: str,
    explanation: str,
    question: str,
    default: str,
    check: Callable[[str], str] = str,
) -> None:
    if name not in plan.settings:
        _explain(explanation)
        plan.settings[name] = _ask(question, default, check)


def _ask(question: str, default: str | None, check: Callable[[str], str] = str) -> Any:
    """The answer to `question`, which is asked again until `check` has no complaint; `default` needs none."""

    def checked(text: str) -> str:
        if text == default:
            return text
        try:
            return check(text.strip())
        except MeteorError as error:
            raise click.UsageError(error.detail) from error

    return click.prompt(question, default=default, value_proc=checked, show_default=bool(default), err=True)


def _ask_choice(question: str, choices: tuple[str, ...], default: str) -> str:
    answer: str = click.prompt(question, default=default, type=click.Choice(choices), err=True)
    return answer


def _explain(*sentences: str) -> None:
    click.echo("\n" + "\n".join(sentences), err=True)


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
