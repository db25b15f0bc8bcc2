"""API tokens: a secret that stands for an account, with some of its roles, until it is revoked.

Only the SHA-256 of a secret is stored. That is enough: a secret is 256 random bits, not a password.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.accounts import users
from meteorpi_model import User, milliseconds_to_utc_datetime
from meteorpi_model.errors import NotAllowedError, NotAuthenticatedError

SECRET_PREFIX = "mpt_"
"""What scanners for leaked secrets can recognise one by."""


_SECRET_BYTES = 32
_NOTED_MILLISECONDS = 60_000
_TOKEN = tables.api_token


@dataclass(frozen=True)
class ApiToken:
    """A token without its secret.

    Attributes:
        token_id: identity.
        user_id: the account it stands for.
        name: for people.
        roles: those it may use, as long as the account has them too.
        created_at, expires_at, last_used_at: UTC; the last is exact to a minute; None for never.
    """

    token_id: UUID
    user_id: str
    name: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def create(
    connection: Connection,
    user_id: str,
    name: str,
    roles: Iterable[str] | None,
    expires_at: int | None,
    now: int,
) -> tuple[UUID, str]:
    """Make a token; gives its id and its secret, which cannot be had again.

    Raises:
        NotFoundError: no such account.
        NotAllowedError: the account lacks one of the roles.
    """
    account = users.require_user(connection, user_id)
    role_mask = account.role_mask if roles is None else User.role_mask_from_roles(roles)
    if role_mask & ~account.role_mask:
        raise NotAllowedError(f"account {user_id!r} does not have all of these roles itself")
    token_id, secret = uuid4(), SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    connection.execute(
        insert(_TOKEN).values(
            token_id=token_id,
            user_id=user_id,
            name=limits.checked_text(name, "name", tables.NAME_LENGTH),
            secret_sha256=_digest(secret),
            role_mask=role_mask,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return token_id, secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def all_tokens(connection: Connection, user_id: str | None) -> list[ApiToken]:
    """The tokens of an account, or of all, oldest first."""
    statement = select(_TOKEN)
    if user_id is not None:
        statement = statement.where(_TOKEN.c.user_id == user_id)
    rows = sorted(connection.execute(statement).all(), key=lambda row: (row.created_at, row.token_id))
    return [
        ApiToken(
            token_id=row.token_id,
            user_id=row.user_id,
            name=row.name,
            roles=User.roles_from_role_mask(row.role_mask),
            created_at=milliseconds_to_utc_datetime(row.created_at),
            expires_at=milliseconds_to_utc_datetime(row.expires_at),
            last_used_at=milliseconds_to_utc_datetime(row.last_used_at),
        )
        for row in rows
    ]


def revoke(connection: Connection, token_id: UUID) -> bool:
    """Delete a token; False when there was none."""
    return bool(connection.execute(delete(_TOKEN).where(_TOKEN.c.token_id == token_id)).rowcount)


@dataclass(frozen=True)
class TokenUse:
    """A token that was shown and found valid; `should_be_noted` when its last use lies a while back."""

    token_id: UUID
    user: User
    should_be_noted: bool


def find(connection: Connection, secret: str, now: int) -> TokenUse:
    """The account that a secret stands for, with the roles that both have.

    Raises:
        NotAuthenticatedError: unknown or expired, or the account is disabled.
    """
    account = tables.user_account
    statement = select(_TOKEN, account.c.role_mask.label("account_mask"), account.c.is_enabled).where(
        _TOKEN.c.secret_sha256 == _digest(secret), account.c.user_id == _TOKEN.c.user_id
    )
    row = connection.execute(statement).first()
    if row is None or not row.is_enabled or (row.expires_at is not None and row.expires_at <= now):
        raise NotAuthenticatedError("wrong or expired token")
    user = User(row.user_id, row.role_mask & row.account_mask)
    is_stale = row.last_used_at is None or row.last_used_at < now - _NOTED_MILLISECONDS
    return TokenUse(row.token_id, user, is_stale)


def note_use(connection: Connection, token_id: UUID, now: int) -> None:
    """Note that a token was used."""
    connection.execute(update(_TOKEN).where(_TOKEN.c.token_id == token_id).values(last_used_at=now))
