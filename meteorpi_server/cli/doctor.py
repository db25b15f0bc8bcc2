"""``meteorpi doctor``: what is wrong with this node, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import EventSearch, FileRecordSearch, now
from meteorpi_model.errors import MeteorError, NotAuthenticatedError
from meteorpi_server.cli.output import Output, json_option, size_text, time_text
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.settings import Settings

Level = Literal["ok", "note", "warning", "error"]

EXTRAS = {
    "firebird": ("fdb", "Firebird databases"),
    "postgresql": ("psycopg", "PostgreSQL databases"),
    "images": ("PIL", "thumbnails and picture times"),
    "pandas": ("pandas", "tables of results in Python"),
    "fastcgi": ("flup", "FastCGI"),
}
"""Each extra, the module that shows whether it is installed, and what it is for."""

LITTLE_BYTES = 2 * 10**9
LEAST_BYTES = 2 * 10**8
CLOCK_SLACK = timedelta(minutes=5)
_BUILT = datetime(2024, 1, 1)  # a clock before this has never been set


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        level: ``ok``; ``note`` for what need not be mended; ``warning``; ``error`` for what does not work.
        subject: what was looked at.
        detail: what was found.
        remedy: how to mend it; empty when there is nothing to mend.
    """

    level: Level
    subject: str
    detail: str
    remedy: str = ""


@click.command()
@json_option
@pass_setup
def doctor(setup: Setup, output: Output) -> int:
    """Look over the node and say what is wrong and how to mend it; ends with 1 when something is."""
    findings = list(examine(setup))
    output.rows([asdict(finding) for finding in findings], ("level", "subject", "detail"))
    for finding in findings:
        if finding.remedy:
            output.say(f"{finding.subject}: {finding.remedy}")
    return 1 if any(finding.level in ("warning", "error") for finding in findings) else 0


def examine(setup: Setup) -> Iterator[Finding]:
    """Everything that can be found out, worst luck included: what stops one check does not stop the rest."""
    yield check_python()
    yield from check_extras()
    yield check_clock(now())
    try:
        settings = setup.settings
    except MeteorError as error:
        yield Finding("error", "settings", error.detail, "correct the variable, or unset it")
        return
    yield Finding("ok", "settings", f"database {shown_path(settings)}, file store {settings.file_store}")
    try:
        with setup.open_database(create=False) as database:
            yield from examine_database(database)
    except MeteorError as error:
        yield Finding("error", "database", error.detail, _database_remedy(error))


def examine_database(database: MeteorDatabase) -> Iterator[Finding]:
    """What an open database, and the store beside it, can be asked."""
    yield Finding("ok", "database", f"answers, schema version {database.get_schema_version()}")
    for check in (check_store, check_space, check_key, check_newest, check_accounts, check_exports):
        yield from guarded(check, database)


def guarded(
    check: Callable[[MeteorDatabase], Iterator[Finding]], database: MeteorDatabase
) -> Iterator[Finding]:
    """The findings of `check`; its failure is a finding too."""
    try:
        yield from check(database)
    except MeteorError as error:
        subject = check.__name__.removeprefix("check_").replace("_", " ")
        yield Finding("error", subject, error.detail, "see the log of the database or the file store")


def check_python() -> Finding:
    """The interpreter that runs this."""
    return Finding("ok", "python", f"{sys.version.split()[0]} at {sys.executable}")


def check_extras() -> Iterator[Finding]:
    """What is installed beside the core."""
    for extra, (module, purpose) in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            remedy = f"only if you want {purpose}: pip install 'meteorpi[{extra}]'"
            yield Finding("note", f"extra {extra}", "not installed", remedy)
        else:
            yield Finding("ok", f"extra {extra}", "installed")


def check_clock(time: datetime) -> Finding:
    """Whether the clock was ever set; small computers without battery begin in 1970."""
    if time < _BUILT:
        return Finding(
            "error", "clock", f"says {time_text(time)}", "set it, and let NTP keep it: timedatectl set-ntp 1"
        )
    return Finding("ok", "clock", f"says {time_text(time)} UTC")


def check_store(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether contents can be written durably, read and deleted."""
    try:
        database.store.check(probe=True)
    except MeteorError as error:
        yield Finding(
            "error", "file store", error.detail, "let the node's account write there, or mend the disk"
        )
        return
    is_durable = "durable" in database.store.capabilities or "local-path" in database.store.capabilities
    yield Finding("ok", "file store", f"{database.store.location} can be written and read")
    if not is_durable:
        yield Finding("warning", "file store", "forgets everything when the process ends", "name a directory")


def check_space(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether there is room for more."""
    free = database.store.free_bytes()
    if free is None:
        yield Finding("note", "space", "the file store cannot tell")
    elif free < LITTLE_BYTES:
        level: Level = "error" if free < LEAST_BYTES else "warning"
        yield Finding(
            level,
            "space",
            f"{size_text(free)} left",
            "delete old data: meteorpi delete; meteorpi report disk",
        )
    else:
        yield Finding("ok", "space", f"{size_text(free)} left")


def check_key(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether the key that protects passwords of peers is there and is the node's own."""
    path = database.secret_box.key_file
    if path is None or not path.exists():
        if database.get_export_configurations():
            yield Finding(
                "error", "secret key", f"{path} is missing", "bring it back, or enter the passwords again"
            )
        else:
            yield Finding("ok", "secret key", "not made yet; nothing to protect")
        return
    yield key_finding(path)


def key_finding(path: Path) -> Finding:
    """Whether only one account can read `path`."""
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Finding("error", "secret key", f"{path} can be read by others", f"chmod 600 {path}")
    if found.st_uid != os.geteuid():
        return Finding(
            "warning", "secret key", f"{path} belongs to another account", "run the node as its owner"
        )
    return Finding("ok", "secret key", f"{path} can be read by its owner only")


def check_newest(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether data comes from the future: then this clock is behind, or that of a camera ahead."""
    newest = [event.event_time for event in database.search_events(EventSearch(limit=1))["events"]]
    newest += [
        file.file_time for file in database.search_files(FileRecordSearch(limit=1))["files"] if file.file_time
    ]
    if newest and max(newest) > now() + CLOCK_SLACK:
        detail = f"the newest data is of {time_text(max(newest))}, later than now"
        yield Finding("warning", "clocks", detail, "compare the clocks of this machine and of the camera")
    else:
        yield Finding("ok", "clocks", f"the newest data is of {time_text(max(newest, default=None))}")


def check_accounts(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether somebody can administrate, and nobody with a password that anybody would try."""
    accounts = [account for account in database.get_accounts() if account.is_enabled]
    if not any(account.user.has_role("camera_admin") for account in accounts):
        yield Finding("note", "accounts", "nobody can administrate over HTTP", "meteorpi init --admin NAME")
    for account in accounts:
        user_id = account.user.user_id
        if has_obvious_password(database, user_id):
            remedy = f"meteorpi users set {user_id} --password-file FILE"
            yield Finding("error", "accounts", f"{user_id} has a password that everybody tries first", remedy)
    yield Finding("ok", "accounts", f"{len(accounts)} enabled")


def has_obvious_password(database: MeteorDatabase, user_id: str) -> bool:
    """Whether one of the first guesses opens the account."""
    for guess in {user_id, "meteorpi", "password", "admin", "raspberry", ""}:
        try:
            database.get_user(user_id, guess)
        except NotAuthenticatedError:
            continue
        return True
    return False


def check_exports(database: MeteorDatabase) -> Iterator[Finding]:
    """Whether what should be exported is."""
    configurations = {each.config_id: each for each in database.get_export_configurations()}
    for state in database.get_export_states():
        name = (
            configurations[state.config_id].name if state.config_id in configurations else state.config_id.hex
        )
        if state.suspended or state.failures:
            detail = f"{name}: {state.failures} failures, {state.pending} waiting: {state.last_error}"
            yield Finding("warning", "exports", detail, "mend the receiver; the exporter goes on by itself")
        else:
            yield Finding("ok", "exports", f"{name}: {state.pending} of {state.total} waiting")


def shown_path(settings: Settings) -> str:
    """The database of `settings` without a password that its address may hold."""
    scheme, separator, rest = settings.db_path.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else settings.db_path


def _database_remedy(error: MeteorError) -> str:
    if error.code == "schema-version":
        return "meteorpi init creates a missing schema; a newer one needs newer software"
    return "see that the server runs, that METEORPI_DB_PATH is right, and that the account may write there"
