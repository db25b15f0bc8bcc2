"""What administrators are told about: tokens, the state of exports, the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meteorpi_model.documents import (
    as_count,
    as_flag,
    as_id,
    as_list,
    as_text,
    as_time,
    read,
    read_optional,
    require_object,
)


@dataclass(frozen=True)
class ApiToken:
    """A token without its secret.

    Attributes:
        token_id: identity.
        user_id: the account that it stands for.
        name: for people.
        roles: those it may use.
        created_at, expires_at, last_used_at: UTC; None for never.
    """

    token_id: UUID
    user_id: str
    name: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @staticmethod
    def from_dict(d: object) -> ApiToken:
        """Read the wire form."""
        document = require_object(d, "a token")
        return ApiToken(
            token_id=read(document, "token_id", as_id),
            user_id=read(document, "user_id", as_text),
            name=read(document, "name", as_text),
            roles=read(document, "roles", as_list(as_text)),
            created_at=read(document, "created_at", as_time),
            expires_at=read_optional(document, "expires_at", as_time),
            last_used_at=read_optional(document, "last_used_at", as_time),
        )


@dataclass(frozen=True)
class ExportState:
    """How an export configuration is doing.

    Attributes:
        config_id: the configuration.
        pending, total: tasks: not done yet, and all of them.
        failures: in a row.
        last_error: reason of the last failure, or None.
        last_failure_at, last_success_at: UTC; None for never.
        suspended: the exporter stopped it and asks the peer from time to time.
        next_probe_at: when it will ask next.
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

    @staticmethod
    def from_dict(d: object) -> ExportState:
        """Read the wire form."""
        document = require_object(d, "the state of an export")
        return ExportState(
            config_id=read(document, "config_id", as_id),
            pending=read(document, "pending", as_count),
            total=read(document, "total", as_count),
            failures=read(document, "failures", as_count),
            last_error=read_optional(document, "last_error", as_text),
            last_failure_at=read_optional(document, "last_failure_at", as_time),
            last_success_at=read_optional(document, "last_success_at", as_time),
            suspended=read_optional(document, "suspended", as_flag) or False,
            next_probe_at=read_optional(document, "next_probe_at", as_time),
        )


@dataclass(frozen=True)
class AuditEntry:
    """Something that somebody changed.

    Attributes:
        entry_id: grows with time; asks for older entries.
        recorded_at: UTC.
        actor: account, or part of the software.
        action: what was done, such as ``user.roles``.
        subject: to what.
        detail: what it became, or None.
        address: network address that it came from, or None.
    """

    entry_id: int
    recorded_at: datetime
    actor: str
    action: str
    subject: str
    detail: str | None
    address: str | None

    @staticmethod
    def from_dict(d: object) -> AuditEntry:
        """Read the wire form."""
        document = require_object(d, "an audit entry")
        return AuditEntry(
            entry_id=read(document, "entry_id", as_count),
            recorded_at=read(document, "recorded_at", as_time),
            actor=read(document, "actor", as_text),
            action=read(document, "action", as_text),
            subject=read(document, "subject", as_text),
            detail=read_optional(document, "detail", as_text),
            address=read_optional(document, "address", as_text),
        )
