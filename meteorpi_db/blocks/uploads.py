"""Uploads that take several requests: their rows, and the changes of these.

A row has the reservation, what the object will be, and who is at work on it. How many bytes have come is
known to the store alone, so that nothing told to a client can be ahead of what is durable. An upload that
became an object stays for a while, so that a client whose answer was lost learns of it.

Source: K-302, K-305, K-307, K-308 and F.1 of the storage contract.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from meteorpi_db.blocks import changes, prefixes
from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.tables import block_upload
from meteorpi_db.filestore import ContentFacts
from meteorpi_model.errors import LockedError

FINISHED_MILLISECONDS: Final = 3600 * 1000
"""How long an upload that became an object can be asked for."""

RETRY_SECONDS: Final = 5
"""When it is worth asking again."""

TAKEN: Final = "another request has gone on with this upload"
_OVER: Final[dict[str, Any]] = {"lock_owner": "sweep", "locked_at": 0, "expires_at": 0}
"""Of an upload that nobody can go on with, whatever the time is by their clock; until it is swept."""

_LONGEST_ID: Final = 64

Kind = Literal["resumable", "direct"]
_UPLOAD = block_upload


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an upload is to become.

    Attributes:
        upload: the object, its conditions, and the id of the upload.
        kind: how the bytes come.
        length: bytes; None as long as nobody has said it.
        sha256: announced digest, hexadecimal; None for none.
        metadata: what the client said of it, word for word.
    """

    upload: Upload
    kind: Kind = "resumable"
    length: int | None = None
    sha256: str | None = None
    metadata: str = ""

    @property
    def digests(self) -> dict[str, str | int]:
        """What was announced, as stores want it."""
        return {} if self.sha256 is None else {"sha256": self.sha256}


@dataclass(frozen=True)
class Lock:
    """Who is at work on an upload; `changed` changes whenever something is heard of the owner."""

    owner: str
    changed: int


@dataclass(frozen=True, kw_only=True)
class UploadRow:
    """An upload as it is.

    Attributes:
        plan: what it is to become.
        content_id: of its bytes in the file store.
        account_id: who began it, None for an account that owns nothing.
        expires_at: when it is forgotten, in milliseconds.
        lock: who is at work on it.
        sha256: of the object that it has become, None as long as it is none.
    """

    plan: Plan
    content_id: UUID
    account_id: str | None
    expires_at: int
    lock: Lock | None = field(default=None)
    sha256: str | None = None


def begin(
    connection: Connection, plan: Plan, content_id: UUID, terms: Terms, now: int, expires_at: int
) -> UploadRow:
    """Reserve room for an upload and keep what is known of it.

    Raises as :func:`meteorpi_db.blocks.changes.require_upload`.
    """
    changes.require_upload(connection, plan.upload, plan.length, terms, now, content_id)
    values = {
        "kind": plan.kind,
        "length": plan.length,
        "demands": _text_of(plan),
        "begun_at": now,
        "expires_at": expires_at,
    }
    connection.execute(update(_UPLOAD).where(_is(plan.upload.upload_id)).values(values))
    return UploadRow(plan=plan, content_id=content_id, account_id=terms.account_id, expires_at=expires_at)


def find(connection: Connection, upload_id: str) -> UploadRow | None:
    """The upload, None when there is none of this id; one that lapsed is there until it is swept."""
    if len(upload_id) > _LONGEST_ID or not upload_id.isascii():
        return None  # some engines would not even compare it
    statement = select(_UPLOAD).where(_is(upload_id), _UPLOAD.c.kind != "request")
    row = connection.execute(statement).first()
    return None if row is None else _row_from(row)


def lock(
    connection: Connection, upload_id: str, seen: Lock | None, owner: str, now: int, expires_at: int
) -> bool:
    """Be the one at work on an upload, unless it is finished or somebody else was faster.

    Args:
        seen: who was at work when the caller looked.
        owner: who will be.
        now: milliseconds.
        expires_at: until when the upload is kept from now on.
    """
    statement = update(_UPLOAD).where(
        _is(upload_id), _was(seen), _UPLOAD.c.finished_as.is_(None), _UPLOAD.c.expires_at > now
    )
    values = {"lock_owner": owner, "locked_at": now, "expires_at": expires_at}
    return connection.execute(statement.values(values)).rowcount == 1


def keep_lock(connection: Connection, upload_id: str, owner: str, changed: int, expires_at: int) -> bool:
    """Say that `owner` is alive, which prolongs the upload; False when the lock is another's now."""
    statement = update(_UPLOAD).where(_is(upload_id), _UPLOAD.c.lock_owner == owner)
    return connection.execute(statement.values(locked_at=changed, expires_at=expires_at)).rowcount == 1


def unlock(connection: Connection, upload_id: str, owner: str) -> None:
    """Leave an upload to others; harmless when it is another's, or gone."""
    statement = update(_UPLOAD).where(_is(upload_id), _UPLOAD.c.lock_owner == owner)
    connection.execute(statement.values(lock_owner=None, locked_at=None))


def resize(connection: Connection, row: UploadRow, size: int, terms: Terms, now: int) -> None:
    """Reserve room for `size` bytes in all, which nobody announced before.

    Raises as :func:`meteorpi_db.blocks.changes.require_upload`.
    """
    growth = changes.require_growth(connection, row.plan.upload, size, terms, now)
    connection.execute(update(_UPLOAD).where(_is(row.plan.upload.upload_id)).values(reserved=growth))


def set_length(connection: Connection, row: UploadRow, length: int, terms: Terms, now: int) -> UploadRow:
    """Say how long an upload will be, and reserve room for all of it; raises as :func:`resize`."""
    resize(connection, row, length, terms, now)
    connection.execute(update(_UPLOAD).where(_is(row.plan.upload.upload_id)).values(length=length))
    return replace(row, plan=replace(row.plan, length=length))


def finish(
    connection: Connection, row: UploadRow, owner: str, facts: ContentFacts, terms: Terms, now: int
) -> Stored:
    """Make the content of an upload, complete in the store, the object that it was meant to be.

    Raises:
        LockedError: the lock is not that of `owner` any more.
        NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError: as
            :func:`meteorpi_db.blocks.changes.store`, which ends the reservation.
    """
    # First the turn, then the upload, as everywhere: whoever removes the prefix comes the same way.
    prefixes.take_turn(connection, row.plan.upload.prefix)
    if not keep_lock(connection, row.plan.upload.upload_id, owner, now, now + FINISHED_MILLISECONDS):
        raise LockedError(TAKEN, retry_after_seconds=RETRY_SECONDS)
    stored = changes.store(connection, row.plan.upload, row.content_id, facts, terms, now)
    connection.execute(
        insert(_UPLOAD).values(
            upload_id=row.plan.upload.upload_id,
            kind=row.plan.kind,
            content_id=row.content_id,
            account_id=row.account_id,
            prefix=row.plan.upload.prefix,
            path=row.plan.upload.path,
            length=facts.size,
            demands=_text_of(row.plan),
            begun_at=now,
            expires_at=now + FINISHED_MILLISECONDS,
            finished_as=facts.sha256,
        )
    )
    return stored


def abandon(connection: Connection, upload_id: str, owner: str) -> bool:
    """End an upload for good, so that its bytes can go; False when `owner` has lost the lock."""
    statement = update(_UPLOAD).where(_is(upload_id), _UPLOAD.c.lock_owner == owner)
    return connection.execute(statement.values(**_OVER)).rowcount == 1


def forget(connection: Connection, upload_id: str) -> None:
    """Remove the row of an upload."""
    connection.execute(delete(_UPLOAD).where(_is(upload_id)))


def lapsed(connection: Connection, now: int, limit: int) -> list[UploadRow]:
    """Uploads whose time is over and whose bytes may still be in the store."""
    statement = select(_UPLOAD).where(
        _UPLOAD.c.expires_at <= now, _UPLOAD.c.kind != "request", _UPLOAD.c.finished_as.is_(None)
    )
    found = connection.execute(statement.order_by(_UPLOAD.c.expires_at, _UPLOAD.c.upload_id).limit(limit))
    return [_row_from(row) for row in found]


def claim_lapsed(connection: Connection, upload_id: str, now: int) -> bool:
    """End an upload whose time is over for good; False when somebody prolonged it meanwhile."""
    statement = update(_UPLOAD).where(_is(upload_id), _UPLOAD.c.expires_at <= now)
    return connection.execute(statement.values(**_OVER)).rowcount == 1


def oldest_begin(connection: Connection, now: int) -> int | None:
    """When the oldest of those that may be resumed was begun, in milliseconds; None when there is none."""
    statement = select(func.min(_UPLOAD.c.begun_at)).where(
        _UPLOAD.c.expires_at > now, _UPLOAD.c.kind == "resumable", _UPLOAD.c.finished_as.is_(None)
    )
    found: int | None = connection.execute(statement).scalar_one()
    return found


def _is(upload_id: str) -> ColumnElement[bool]:
    return _UPLOAD.c.upload_id == upload_id


def _was(seen: Lock | None) -> ColumnElement[bool]:
    if seen is None:
        return _UPLOAD.c.lock_owner.is_(None)
    return (_UPLOAD.c.lock_owner == seen.owner) & (_UPLOAD.c.locked_at == seen.changed)


def _text_of(plan: Plan) -> str:
    demands = plan.upload.demands
    return json.dumps(
        {
            "media_type": plan.upload.media_type,
            "if_match": demands.if_match,
            "if_none_match": demands.if_none_match,
            "sha256": plan.sha256,
            "metadata": plan.metadata,
        }
    )


def _row_from(row: Row[Any]) -> UploadRow:
    said = json.loads(row.demands)
    upload = Upload(
        prefix=row.prefix,
        path=row.path,
        demands=Demands(if_match=said["if_match"], if_none_match=said["if_none_match"]),
        media_type=said["media_type"],
        upload_id=row.upload_id,
    )
    return UploadRow(
        plan=Plan(
            upload=upload,
            kind=row.kind,
            length=row.length,
            sha256=said["sha256"],
            metadata=said["metadata"],
        ),
        content_id=row.content_id,
        account_id=row.account_id,
        expires_at=row.expires_at,
        lock=None if row.lock_owner is None else Lock(row.lock_owner, row.locked_at),
        sha256=row.finished_as,
    )
