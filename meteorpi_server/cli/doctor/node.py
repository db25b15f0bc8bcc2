"""What the node holds: times, accounts, exports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporting.exporter_lease import LEASE_NAME
from meteorpi_db.exporting.exports import ExportState
from meteorpi_model import EventSearch, FileRecordSearch, now
from meteorpi_model.errors import NotAuthenticatedError
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.output import time_text

CLOCK_SLACK: Final = timedelta(minutes=5)
QUIET: Final = timedelta(hours=1)
"""How long work may wait without a success or a failure before nobody seems to do it."""


def check_clocks(database: MeteorDatabase) -> Iterator[Finding]:
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
    """Whether what should be exported is, and whether anybody does it."""
    configurations = {each.config_id: each for each in database.get_export_configurations()}
    for state in database.get_export_states():
        configuration = configurations.get(state.config_id)
        name = state.config_id.hex if configuration is None else configuration.name
        yield state_finding(name, state, now())
    if configurations and database.is_lease_abandoned(LEASE_NAME):
        yield Finding(
            "warning",
            "exporter",
            "ended without a farewell, and no other has taken over",
            "start one: systemctl start meteorpi-export, or export = true for the serving process",
        )


def state_finding(name: str, state: ExportState, time: datetime) -> Finding:
    """How one export is doing."""
    if state.suspended or state.failures:
        how = "suspended after " if state.suspended else ""
        detail = f"{name}: {how}{state.failures} failures, {state.pending} waiting: {state.last_error}"
        return Finding("warning", "exports", detail, "mend the receiver; the exporter goes on by itself")
    heard = max(filter(None, (state.last_success_at, state.last_failure_at)), default=None)
    if state.enabled and state.pending and (heard is None or heard < time - QUIET):
        detail = f"{name}: {state.pending} waiting, the last success was {time_text(heard)}"
        return Finding(
            "warning",
            "exports",
            detail,
            "is an exporter running? systemctl status meteorpi-export, or export = true; meteorpi export "
            "--once shows what happens",
        )
    return Finding("ok", "exports", f"{name}: {state.pending} of {state.total} waiting")
