"""Tokens for blocks: a secret that stands for an account, named, perhaps with an end, until it is revoked.

Only the SHA-256 of a secret is stored; it is 256 random bits, not a password.

Source: D.1 of the storage contract.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from meteorpi_db import limits
from meteorpi_db.blocks.tables import block_token
from meteorpi_db.dialects import DuplicateKeyError
from meteorpi_db.tables import NAME_LENGTH
from meteorpi_model.errors import ConflictError, NotFoundError

SECRET_PREFIX: Final = "mpb_"
"""What scanners for leaked secrets can recognise one by."""

_SECRET_BYTES: Final = 32
_NOTED_MILLISECONDS: Final = 60_000
_TOKEN = block_token


@dataclass(frozen=True, kw_only=True)
class BlockToken:
    """A token without its secret.

    Attributes:
        account_id: which it stands for.
        name: for people, one of each in an account.
        created_at, expires_at, last_used_at: milliseconds; the last is exact to a minute; None for never.
    """

    account_id: str
    name: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None


def create(connection: Connection, account_id: str, name: str, expires_at: int | None, now: int) -> str:
    """Make a token; gives its secret, which cannot be had again.

    Raises:
        ConflictError: the account has one of this name.
    """
    secret = SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    try:
        connection.execute(
            insert(_TOKEN).values(
                digest=_digest(secret),
                account_id=account_id,
                name=limits.checked_text(name, "name", NAME_LENGTH),
                scopes="",
                created_at=now,
                expires_at=expires_at,
            )
        )
    except DuplicateKeyError as error:
        raise ConflictError(f"the account has a token called {name!r}") from error
    return secret


def find(connection: Connection, secret: str, now: int) -> BlockToken | None:
    """The token with this secret, None when there is none or it has expired."""
    found = connection.execute(select(_TOKEN).where(_TOKEN.c.digest == _digest(secret))).first()
    if found is None or (found.expires_at is not None and found.expires_at <= now):
        return None
    return _token_from(found)


def is_use_noted(token: BlockToken, now: int) -> bool:
    """Whether a use was written down less than a minute ago, which is exact enough."""
    return token.last_used_at is not None and token.last_used_at >= now - _NOTED_MILLISECONDS


def note_use(connection: Connection, secret: str, now: int) -> None:
    """Write down that a token is used."""
    connection.execute(update(_TOKEN).where(_TOKEN.c.digest == _digest(secret)).values(last_used_at=now))


def tokens_of(connection: Connection, account_id: str | None = None) -> list[BlockToken]:
    """Those of an account, or of all, by account and name."""
    statement = select(_TOKEN).order_by(_TOKEN.c.account_id, _TOKEN.c.name)
    if account_id is not None:
        statement = statement.where(_TOKEN.c.account_id == account_id)
    return [_token_from(row) for row in connection.execute(statement)]


def revoke(connection: Connection, account_id: str, name: str) -> None:
    """Remove a token.

    Raises:
        NotFoundError: the account has none of this name.
    """
    this = (_TOKEN.c.account_id == account_id, _TOKEN.c.name == name)
    if not connection.execute(delete(_TOKEN).where(*this)).rowcount:
        raise NotFoundError(f"the account has no token called {name!r}")


def revoke_all(connection: Connection, account_id: str) -> None:
    """Remove all tokens of an account, which may have none."""
    connection.execute(delete(_TOKEN).where(_TOKEN.c.account_id == account_id))


def _token_from(row: Row[Any]) -> BlockToken:
    return BlockToken(
        account_id=row.account_id,
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
