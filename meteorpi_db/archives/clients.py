"""Clients of archives: programs that make tickets with a secret of their own.

Of a secret only the SHA-256 is kept; it is looked up by that. HMAC-SHA-256 replaces a key longer than 64
bytes by its SHA-256 (RFC 2104 section 2), so the digest also verifies what a client signed with a long
secret, and that is why secrets made here are longer. A shorter one that somebody brings along is kept as it
is if, and only if, that was asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, insert, select, update

from meteorpi_db.archives.tables import CLIENT_NAME_LENGTH, archive_clients
from meteorpi_db.dialects import DuplicateKeyError
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError
from meteorpi_model.values import milliseconds_to_utc_datetime

SECRET_BYTES: Final = 48
HMAC_BLOCK_BYTES: Final = 64
MAX_SECRET_BYTES: Final = 1024
SELECTORS: Final = ("url", "record", "dir")
"""Kinds of sources that a client can be allowed to ask for."""

_CLIENT = archive_clients
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{CLIENT_NAME_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a client may ask for.

    Attributes:
        selectors: those of `SELECTORS` that it may use.
        prefixes: URLs that what it asks for has to be below, one of these; none allows any. Whoever asks the
            URL looks, since that takes reading it as it will be dialled.
        requires_expiry: whether the links that it signs have to say until when they are good.

    Raises:
        InvalidDocumentError: one of the selectors is unknown.
    """

    selectors: frozenset[str] = frozenset(SELECTORS)
    prefixes: tuple[str, ...] = ()
    requires_expiry: bool = False

    def __post_init__(self) -> None:
        if unknown := sorted(self.selectors.difference(SELECTORS)):
            raise InvalidDocumentError(f"no such selector: {', '.join(unknown)}", pointer="/selectors")

    def to_text(self) -> str:
        """The form in which they are kept."""
        return json.dumps(vars(self) | {"selectors": sorted(self.selectors)})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What :meth:`to_text` gave."""
        document = json.loads(text)
        return cls(
            selectors=frozenset(document["selectors"]),
            prefixes=tuple(document["prefixes"]),
            requires_expiry=document["requires_expiry"],
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of the node a client may take at a time; None for no limit of its own.

    Attributes:
        downloads: tickets of its that are downloaded at once, at least 1.

    Raises:
        InvalidDocumentError: the limit is below 1.
    """

    downloads: int | None = None

    def __post_init__(self) -> None:
        if self.downloads is not None and self.downloads < 1:
            raise InvalidDocumentError(
                f"downloads must be at least 1, not {self.downloads}", pointer="/downloads"
            )

    def to_text(self) -> str:
        """The form in which they are kept."""
        return json.dumps(vars(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What :meth:`to_text` gave."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client without its secret.

    Attributes:
        client_id: identity.
        name: unique; letters, digits, ``_`` and ``-``.
        rights, limits: what it may do.
        is_enabled: whether its secret is accepted.
        created_at: UTC.
        signing_key: what verifies the tokens that it signs with HS256, or None when it cannot sign.
    """

    client_id: UUID
    name: str
    rights: Rights
    limits: Limits
    is_enabled: bool
    created_at: datetime
    signing_key: bytes | None = field(repr=False)


def create(
    connection: Connection,
    name: str,
    rights: Rights,
    limits: Limits,
    now: int,
    *,
    secret: str | None = None,
    signing: bool = False,
) -> str:
    """Make a client; gives its secret, which cannot be had again.

    Args:
        connection: to write with.
        name: of the client.
        rights, limits: what it may do.
        now: milliseconds.
        secret: one that exists already; None makes one.
        signing: keep a `secret` that is too short to verify signatures by its digest as it is.

    Raises:
        InvalidDocumentError: the name or the secret cannot be used.
        ConflictError: there is a client of that name, or with that secret.
    """
    if not _NAME.fullmatch(name):
        raise InvalidDocumentError(
            f"the name of a client has 1 to {CLIENT_NAME_LENGTH} letters, digits, _ and -, not {name!r}",
            pointer="/name",
        )
    if find(connection, name) is not None:
        raise ConflictError(f"there is a client {name!r} already")
    chosen = _new_secret() if secret is None else secret
    row = {
        "client_id": uuid4(),
        "name": name,
        "rights": rights.to_text(),
        "limits": limits.to_text(),
        "is_enabled": True,
        "created_at": now,
    }
    try:
        connection.execute(insert(_CLIENT).values(row | _kept_of(chosen, signing=signing)))
    except DuplicateKeyError as error:
        raise ConflictError("there is a client with this name or this secret already") from error
    return chosen


def _new_secret() -> str:
    return secrets.token_hex(SECRET_BYTES)


def _kept_of(secret: str, *, signing: bool = False) -> dict[str, str | None]:
    """What is kept of a secret."""
    given = secret.encode(errors="surrogatepass")
    if not given or len(given) > MAX_SECRET_BYTES:
        raise InvalidDocumentError("this is no secret that can be used", pointer="/secret")
    digest = hashlib.sha256(given).hexdigest()
    if len(given) > HMAC_BLOCK_BYTES:
        return {"digest": digest, "signing_key": digest}
    return {"digest": digest, "signing_key": given.hex() if signing else None}


def find(connection: Connection, name: str) -> Client | None:
    """The client of that name, enabled or not."""
    row = connection.execute(select(_CLIENT).where(_CLIENT.c.name == name)).first() if name else None
    return None if row is None else _client_of(row)


def of_secret(connection: Connection, secret: str) -> Client | None:
    """The enabled client whose secret this is."""
    digest = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
    row = connection.execute(select(_CLIENT).where(_CLIENT.c.digest == digest)).first()
    return _client_of(row) if row is not None and row.is_enabled else None


def of_id(connection: Connection, client_id: UUID) -> Client | None:
    """The client with that identity, enabled or not."""
    row = connection.execute(select(_CLIENT).where(_CLIENT.c.client_id == client_id)).first()
    return None if row is None else _client_of(row)


def all_clients(connection: Connection) -> list[Client]:
    """Every client, by name."""
    return [_client_of(row) for row in connection.execute(select(_CLIENT).order_by(_CLIENT.c.name))]


def limits_of(connection: Connection, client_ids: Iterable[UUID]) -> dict[UUID, Limits]:
    """The limits of those clients."""
    wanted = set(client_ids)
    if not wanted:
        return {}
    rows = connection.execute(select(_CLIENT.c.client_id, _CLIENT.c.limits))
    return {row.client_id: Limits.from_text(row.limits) for row in rows if row.client_id in wanted}


def drop(connection: Connection, name: str) -> None:
    """Delete a client and all its tickets.

    Raises:
        NotFoundError: there is none of that name.
    """
    if not connection.execute(delete(_CLIENT).where(_CLIENT.c.name == name)).rowcount:
        raise _unknown(name)


def regenerate(connection: Connection, name: str) -> str:
    """Give a client another secret; the old one is worth nothing from now on.

    Raises:
        NotFoundError: there is none of that name.
    """
    secret = _new_secret()
    _change(connection, name, **_kept_of(secret))
    return secret


def set_enabled(connection: Connection, name: str, is_enabled: bool) -> None:
    """Accept the secret of a client, or do not.

    Raises:
        NotFoundError: there is none of that name.
    """
    _change(connection, name, is_enabled=is_enabled)


def _change(connection: Connection, name: str, **values: Any) -> None:
    statement = update(_CLIENT).where(_CLIENT.c.name == name).values(values)
    if not connection.execute(statement).rowcount:
        raise _unknown(name)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no client {name!r}", entity_id=name)


def _client_of(row: Row[Any]) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.name,
        rights=Rights.from_text(row.rights),
        limits=Limits.from_text(row.limits),
        is_enabled=row.is_enabled,
        created_at=milliseconds_to_utc_datetime(row.created_at),
        signing_key=None if row.signing_key is None else bytes.fromhex(row.signing_key),
    )
