"""The rows of accounts, prefixes and objects as values, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from meteorpi_db.blocks.tables import block_account, block_content, block_object, block_prefix

_ACCOUNT = block_account
_PREFIX = block_prefix
_OBJECT = block_object
_CONTENT = block_content


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """Who owns prefixes.

    Attributes:
        account_id: identity, with its source in front, such as ``local:anna``.
        source: who knows it: ``local``, ``remote`` or ``dummy``.
        is_active: whether it may do anything.
        quota, traffic_quota: bytes that an administrator allows; None takes what its source says.
        max_objects, max_prefixes: numbers that an administrator allows, 0 for any; None takes the server's.
        used, objects: bytes and number of its objects.
    """

    account_id: str
    source: str
    is_active: bool
    quota: int | None
    traffic_quota: int | None
    max_objects: int | None
    max_prefixes: int | None
    used: int
    objects: int


@dataclass(frozen=True, kw_only=True)
class PrefixRow:
    """A namespace of one account.

    Attributes:
        name: identity.
        account_id: who owns it; None for nobody, as with dummy accounts, and then nothing is counted.
        label: for people.
        read_policy: who may read; None takes the server's.
        is_append_only: whether what is there stays as it is.
        quota: bytes; None for no limit of its own.
        used, objects: bytes and number of its objects.
        sequence: number of its last event.
        is_leaving: its objects are being removed.
        created_at: milliseconds.
    """

    name: str
    account_id: str | None
    label: str
    read_policy: str | None
    is_append_only: bool
    quota: int | None
    used: int
    objects: int
    sequence: int
    is_leaving: bool
    created_at: int


@dataclass(frozen=True, kw_only=True)
class ObjectRow:
    """What a path points to.

    Attributes:
        prefix, path: its name.
        content_id: of its bytes in the file store.
        size: bytes.
        sha256: of them, hexadecimal.
        media_type: what the uploader said they are.
        version: counts the contents it has had.
        created_at, modified_at: milliseconds.
        is_corrupt: its bytes are known to be missing or damaged; not looked at for listings.
    """

    prefix: str
    path: str
    content_id: UUID
    size: int
    sha256: str
    media_type: str
    version: int
    created_at: int
    modified_at: int
    is_corrupt: bool = False


def find_account(connection: Connection, account_id: str) -> AccountRow | None:
    """The account, None when nothing was ever asked of it."""
    row = connection.execute(select(_ACCOUNT).where(_ACCOUNT.c.account_id == account_id)).first()
    if row is None:
        return None
    return AccountRow(
        account_id=row.account_id,
        source=row.source,
        is_active=row.is_active,
        quota=row.quota,
        traffic_quota=row.traffic_quota,
        max_objects=row.max_objects,
        max_prefixes=row.max_prefixes,
        used=row.used,
        objects=row.objects,
    )


def find_prefix(connection: Connection, name: str) -> PrefixRow | None:
    """The prefix, None when there is none of this name."""
    row = connection.execute(select(_PREFIX).where(_PREFIX.c.name == name)).first()
    return None if row is None else prefix_from(row)


def find_object(connection: Connection, prefix: str, path: str) -> ObjectRow | None:
    """The object, None when there is none of this name."""
    statement = select(_OBJECT, _CONTENT.c.is_corrupt).join(_CONTENT)
    row = connection.execute(statement.where(_OBJECT.c.prefix == prefix, _OBJECT.c.path == path)).first()
    return None if row is None else object_from(row, is_corrupt=row.is_corrupt)


def prefix_from(row: Row[Any]) -> PrefixRow:
    """A row of the table as a value."""
    return PrefixRow(
        name=row.name,
        account_id=row.account_id,
        label=row.label,
        read_policy=row.read_policy,
        is_append_only=row.is_append_only,
        quota=row.quota,
        used=row.used,
        objects=row.objects,
        sequence=row.sequence,
        is_leaving=row.is_leaving,
        created_at=row.created_at,
    )


def object_from(row: Row[Any], *, is_corrupt: bool = False) -> ObjectRow:
    """A row of the table as a value."""
    return ObjectRow(
        prefix=row.prefix,
        path=row.path,
        content_id=row.content_id,
        size=row.size_bytes,
        sha256=row.sha256,
        media_type=row.media_type,
        version=row.version,
        created_at=row.created_at,
        modified_at=row.modified_at,
        is_corrupt=is_corrupt,
    )
