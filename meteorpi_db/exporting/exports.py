"""Export configurations: what is pushed to whom, and how that has been going.

A configuration is either enabled, or disabled by a person, or disabled because too many pushes failed in a
row. The last is called suspended: its peer is probed at growing intervals and the configuration enabled again
when it answers. Whatever a person saves ends a suspension, so what a person disabled stays disabled.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.exporting import marking_progress
from meteorpi_db.exporting.secrets import SecretBox
from meteorpi_db.sql_builder import builder_for
from meteorpi_model import (
    EventSearch,
    ExportConfiguration,
    FileRecordSearch,
    milliseconds_to_utc_datetime,
)
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, NotFoundError, UnknownEntityError

logger = logging.getLogger("meteorpi.db.export")

URL_LENGTH = 2048
DESCRIPTION_LENGTH = 65_536
PASSWORD_LENGTH = 1024
CA_FILE_LENGTH = 1024
ACTIVE = 1

_CONFIG = tables.export_config
_TASK = tables.export_task
_FRESH_STATE: dict[str, object] = {
    "failures": 0,
    "suspended_at": None,
    "next_probe_at": None,
    "probe_count": 0,
}


@dataclass(frozen=True)
class ExportState:
    """How the pushes of one configuration are going.

    Attributes:
        config_id: the configuration.
        pending, total: numbers of tasks: not done, and ever marked.
        failures: in a row.
        last_error: reason of the last failure; None when there was none.
        last_failure_at, last_success_at: UTC; None for never.
        suspended: disabled by the exporter, which will probe the peer.
        next_probe_at: when; None for at once.
        probe_count: probes planned since it was suspended.
        enabled: whether it is marked and sent at present.
        ca_file: certificates to trust for this peer in place of the usual ones, or None.
    """

    config_id: UUID
    pending: int
    total: int
    failures: int
    last_error: str | None
    last_failure_at: datetime | None
    last_success_at: datetime | None
    suspended: bool
    next_probe_at: datetime | None
    probe_count: int
    enabled: bool
    ca_file: str | None


def pk_of(connection: Connection, config_id: UUID) -> int | None:
    """Row number of a configuration, None when it is not stored."""
    wanted = limits.checked_id(config_id, "config_id")
    pk: int | None = connection.execute(select(_CONFIG.c.id).where(_CONFIG.c.config_id == wanted)).scalar()
    return pk


def require_pk(connection: Connection, config_id: UUID | None) -> int:
    """Row number of a configuration; `UnknownEntityError` when it is not stored."""
    pk = None if config_id is None else pk_of(connection, config_id)
    if pk is None:
        raise UnknownEntityError("this export configuration is not stored", entity_id=config_id)
    return pk


def configurations(
    connection: Connection, box: SecretBox, condition: ColumnElement[bool] | None = None
) -> list[ExportConfiguration]:
    """The configurations, newest first, passwords included where the key for them is at hand."""
    statement = select(_CONFIG) if condition is None else select(_CONFIG).where(condition)
    rows = sorted(connection.execute(statement).all(), key=lambda row: int(row.id), reverse=True)
    return [_configuration_from(row, box) for row in rows]


def configuration(connection: Connection, box: SecretBox, config_id: UUID) -> ExportConfiguration | None:
    """The configuration with that id."""
    wanted = limits.checked_id(config_id, "config_id")
    return next(iter(configurations(connection, box, _CONFIG.c.config_id == wanted)), None)


def _configuration_from(row: Row[Any], box: SecretBox) -> ExportConfiguration:
    read = FileRecordSearch.from_dict if row.export_type == "file" else EventSearch.from_dict
    return ExportConfiguration(
        target_url=row.target_url,
        user_id=row.target_user,
        password=_password(row, box),
        search=read(json.loads(row.search)),
        name=row.name,
        description=row.description,
        enabled=row.is_enabled,
        config_id=row.config_id,
    )


def _password(row: Row[Any], box: SecretBox) -> str | None:
    try:
        return box.open(row.target_secret)
    except (
        ConfigurationError
    ) as error:  # without the key they can still be listed, and the password entered again
        logger.error("password not readable config_id=%s reason=%s", row.config_id.hex, error.detail)  # noqa: TRY400
        return None


def save(connection: Connection, box: SecretBox, config: ExportConfiguration, config_id: UUID | None) -> UUID:
    """Store a configuration and give its id.

    Args:
        connection: of a writing transaction.
        box: seals the password.
        config: what to store; a password of None leaves a stored one as it is.
        config_id: of the configuration to replace; None for a new one.

    Raises:
        InvalidDocumentError: a member cannot be stored, or a new one has no password.
        NotFoundError: there is none to replace.
    """
    values = _columns(config)
    if config.password is not None:
        values["target_secret"] = box.seal(
            limits.checked_text(config.password, "password", PASSWORD_LENGTH, may_be_empty=True)
        )
    if config_id is None:
        if config.password is None:
            raise InvalidDocumentError("a new export configuration needs a password", pointer="/password")
        new_id = uuid4()
        connection.execute(insert(_CONFIG).values(config_id=new_id, **values))
        return new_id
    statement = update(_CONFIG).where(_CONFIG.c.config_id == config_id)
    if not connection.execute(statement.values(values)).rowcount:
        raise NotFoundError("no such export configuration", entity_id=config_id)
    return config_id


def add_with_id(connection: Connection, box: SecretBox, config: ExportConfiguration, config_id: UUID) -> bool:
    """Store a configuration that comes with its id; False when it is stored already, and left as it is.

    Raises:
        InvalidDocumentError: a member cannot be stored.
    """
    values = _columns(config)
    password = limits.checked_text(config.password, "password", PASSWORD_LENGTH, may_be_empty=True)
    if pk_of(connection, config_id) is not None:
        return False
    values["target_secret"] = box.seal(password)
    connection.execute(insert(_CONFIG).values(config_id=config_id, **values))
    return True


def _columns(config: ExportConfiguration) -> dict[str, object]:
    if not isinstance(config, ExportConfiguration):
        raise InvalidDocumentError(f"not an export configuration: {config!r}")
    builder_for(config.search)  # what cannot be run is not stored
    return {
        "export_type": "event" if isinstance(config.search, EventSearch) else "file",
        "search": search_text(config.search),
        "target_url": _checked_url(config.target_url),
        "target_user": limits.checked_text(config.user_id, "user_id", tables.NAME_LENGTH, may_be_empty=True),
        "name": limits.checked_text(config.name, "config_name", tables.NAME_LENGTH, may_be_empty=True),
        "description": limits.checked_text(
            config.description, "config_description", DESCRIPTION_LENGTH, may_be_empty=True
        ),
        "is_enabled": bool(config.enabled),
        **_FRESH_STATE,
        **marking_progress.UNKNOWN,
    }


def search_text(search: FileRecordSearch | EventSearch) -> str:
    """A search as it is stored."""
    return json.dumps(search.as_dict())


def _checked_url(target_url: str) -> str:
    url = limits.checked_text(target_url, "target_url", URL_LENGTH)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidDocumentError(f"target_url is not a URL: {error}", pointer="/target_url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidDocumentError(
            "target_url must be a complete http or https address", pointer="/target_url"
        )
    return url


def delete_configuration(connection: Connection, config_id: UUID) -> bool:
    """Delete a configuration with its tasks; False when there was none."""
    wanted = limits.checked_id(config_id, "config_id")
    return bool(connection.execute(delete(_CONFIG).where(_CONFIG.c.config_id == wanted)).rowcount)


def set_ca_file(connection: Connection, config_id: UUID, ca_file: str | None) -> None:
    """Say which certificates to trust for a peer (B-45); None for the usual ones."""
    checked = limits.checked_optional_text(ca_file, "ca_file", CA_FILE_LENGTH)
    _update(connection, config_id, {"ca_file": checked})


def states(connection: Connection) -> list[ExportState]:
    """How every configuration is doing, newest first."""
    counts = {
        row.config_pk: (int(row.pending or 0), row.total)
        for row in connection.execute(
            select(
                _TASK.c.config_pk,
                func.sum(case((_TASK.c.state == ACTIVE, 1), else_=0)).label("pending"),
                func.count().label("total"),
            ).group_by(_TASK.c.config_pk)
        )
    }
    rows = sorted(connection.execute(select(_CONFIG)).all(), key=lambda row: int(row.id), reverse=True)
    return [_state_from(row, *counts.get(row.id, (0, 0))) for row in rows]


def _state_from(row: Row[Any], pending: int = 0, total: int = 0) -> ExportState:
    return ExportState(
        config_id=row.config_id,
        pending=pending,
        total=total,
        failures=row.failures,
        last_error=row.last_error,
        last_failure_at=milliseconds_to_utc_datetime(row.last_failure_at),
        last_success_at=milliseconds_to_utc_datetime(row.last_success_at),
        suspended=row.suspended_at is not None,
        next_probe_at=milliseconds_to_utc_datetime(row.next_probe_at),
        probe_count=row.probe_count,
        enabled=row.is_enabled,
        ca_file=row.ca_file,
    )


def record_success(connection: Connection, config_id: UUID, now: int) -> None:
    """Note that something was delivered: failures begin at zero again."""
    _update(connection, config_id, {"failures": 0, "last_success_at": now, "last_error": None})


def record_failure(
    connection: Connection, config_id: UUID, reason: str, max_failures: int, now: int
) -> ExportState:
    """Count a failure; after `max_failures` in a row the configuration is suspended and the count forgotten.

    Returns:
        The state afterwards, without numbers of tasks; a blank one when the configuration is gone.
    """
    row = connection.execute(select(_CONFIG).where(_CONFIG.c.config_id == config_id)).first()
    if row is None:
        return ExportState(config_id, 0, 0, 0, reason, None, None, False, None, 0, False, None)
    failures = row.failures + 1
    values: dict[str, object] = {"failures": failures, "last_error": reason, "last_failure_at": now}
    if row.is_enabled and failures >= max_failures:
        values |= {"failures": 0, "is_enabled": False, "suspended_at": now, "probe_count": 0}
    _update(connection, config_id, values)
    row = connection.execute(select(_CONFIG).where(_CONFIG.c.config_id == config_id)).one()
    return _state_from(row)


def suspend(connection: Connection, config_id: UUID, next_probe_at: int, now: int) -> None:
    """Keep a configuration suspended until a probe at `next_probe_at` finds its peer well.

    One that a person has saved meanwhile is left as it is.
    """
    is_suspended = (_CONFIG.c.suspended_at.is_not(None)) | (_CONFIG.c.is_enabled.is_(True))
    statement = update(_CONFIG).where(_CONFIG.c.config_id == config_id, is_suspended)
    connection.execute(
        statement.values(
            is_enabled=False,
            suspended_at=func.coalesce(_CONFIG.c.suspended_at, now),
            next_probe_at=next_probe_at,
            probe_count=_CONFIG.c.probe_count + 1,
        )
    )


def due_probes(connection: Connection, now: int) -> list[ExportState]:
    """Suspended configurations whose peers should be asked whether they answer again."""
    is_due = (_CONFIG.c.next_probe_at.is_(None)) | (_CONFIG.c.next_probe_at <= now)
    rows = connection.execute(select(_CONFIG).where(_CONFIG.c.suspended_at.is_not(None), is_due))
    return [_state_from(row) for row in rows]


def resume(connection: Connection, config_id: UUID, now: int) -> None:
    """Enable a suspended configuration with a full set of attempts, its tasks due now.

    One that a person has disabled, or deleted, is left as it is.
    """
    pk = pk_of(connection, config_id)
    may_resume = (_CONFIG.c.suspended_at.is_not(None)) | (_CONFIG.c.is_enabled.is_(True))
    statement = update(_CONFIG).where(_CONFIG.c.id == pk, may_resume)
    if pk is None or not connection.execute(statement.values(is_enabled=True, **_FRESH_STATE)).rowcount:
        return
    waiting = update(_TASK).where(_TASK.c.config_pk == pk, _TASK.c.state == ACTIVE, _TASK.c.due_at > now)
    # Their own failures stay: what failed before goes last, or a few bad entities would suspend it again.
    connection.execute(waiting.values(due_at=now))


def _update(connection: Connection, config_id: UUID, values: dict[str, object]) -> None:
    connection.execute(update(_CONFIG).where(_CONFIG.c.config_id == config_id).values(values))
