"""The changes of objects: each is a short transaction, alone with its account, that decides everything.

Whatever was looked at before, to spare a transfer, is looked at again here: others may have been faster.

Source: K-123, K-127, K-140, K-149, K-210 to K-215, K-230, K-231 and K-405 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import Connection, delete, insert, update

from meteorpi_db.blocks import contents, events, names, prefixes, reservations
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.prefixes import Turn
from meteorpi_db.blocks.quota import QuotaRule, Room, require_number, require_room
from meteorpi_db.blocks.rows import ObjectRow, find_object
from meteorpi_db.blocks.tables import block_object
from meteorpi_db.filestore import ContentFacts
from meteorpi_model.errors import DigestMismatchError, NotAllowedError, NotFoundError

_OBJECT = block_object
_DAY_MILLISECONDS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the server, and whoever knows the account, say about it.

    Attributes:
        account_id: who asks; None for one that owns nothing.
        quota: bytes, None for no limit.
        rule: what is allowed beyond the quota.
        is_append_only: on this server nothing is ever changed or removed.
        retain_days: objects younger than this are not changed or removed.
        max_objects, max_prefixes: of an account that has no such limits of its own; 0 for any number.
        verifies_names: blocks that are called by a SHA-256 have it.
        is_administrator: of the node, who may change prefixes of others, but not what is below them.
    """

    account_id: str | None
    quota: int | None = None
    rule: QuotaRule = field(default_factory=QuotaRule)
    is_append_only: bool = False
    retain_days: int = 0
    max_objects: int = 0
    max_prefixes: int = 0
    verifies_names: bool = False
    is_administrator: bool = False


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A content on its way to become an object.

    Attributes:
        prefix, path: of the object.
        demands: conditions of the request.
        media_type: what the uploader says the bytes are.
        upload_id: of its reservation; empty for none.
    """

    prefix: str
    path: str
    demands: Demands = field(default_factory=Demands)
    media_type: str = "application/octet-stream"
    upload_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What an upload led to.

    Attributes:
        row: the object as it is now.
        is_created: there was none before.
        is_content_used: the new content is the object's; else the same bytes were there, and it is spare.
        event: what is told to those who listen.
    """

    row: ObjectRow
    is_created: bool
    is_content_used: bool
    event: BlockEvent


def require_upload(
    connection: Connection, upload: Upload, size: int | None, terms: Terms, now: int, content_id: UUID
) -> None:
    """Refuse an upload whose bytes need not come; reserve room for the others.

    Args:
        size: announced bytes; None when that is not known, and nothing can be reserved.
        content_id: that it will have.

    Raises:
        NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError: as for the upload itself.
    """
    turn = _turn(connection, upload.prefix, terms)
    growth = _require_fit(connection, turn, upload, size or 0, terms, now, is_all=size is not None)
    if upload.upload_id:
        reservations.reserve(
            connection,
            upload.upload_id,
            content_id,
            terms.account_id,
            upload.prefix,
            upload.path,
            growth,
            now + reservations.LAPSE_MILLISECONDS,
        )


def require_growth(connection: Connection, upload: Upload, size: int, terms: Terms, now: int) -> int:
    """Refuse an upload that could not become an object of `size` bytes now; by how much that would grow.

    Raises as :func:`require_upload`.
    """
    turn = _turn(connection, upload.prefix, terms)
    return _require_fit(connection, turn, upload, size, terms, now, is_all=False)


def require_likely(connection: Connection, upload: Upload, size: int, terms: Terms, now: int) -> None:
    """Refuse an upload that would not fit now, without being alone with the account: others may be faster.

    Raises as :func:`require_upload`.
    """
    turn = _checked(prefixes.look_at(connection, upload.prefix), terms)
    _require_fit(connection, turn, upload, size, terms, now, is_all=True)


def _require_fit(
    connection: Connection, turn: Turn, upload: Upload, size: int, terms: Terms, now: int, *, is_all: bool
) -> int:
    old = find_object(connection, upload.prefix, upload.path)
    upload.demands.check(None if old is None else old.sha256)
    if is_all and old is not None and old.size != size:  # the same bytes may come again, but these are others
        _require_changeable(turn, old, terms, now)
    _require_room(connection, turn, upload, old, size, terms, now)
    return max(0, size - (0 if old is None else old.size))


def store(
    connection: Connection, upload: Upload, content_id: UUID, facts: ContentFacts, terms: Terms, now: int
) -> Stored:
    """Make a content that is complete in the store the object of its name.

    Raises:
        NotFoundError: there is no such prefix.
        NotAllowedError: it is another account's, or what is there must stay as it is.
        PreconditionFailedError: a condition of the request does not hold.
        QuotaReachedError: there is no room.
        DigestMismatchError: it is not what its name says.
    """
    if terms.verifies_names and names.digest_named(upload.path) not in (None, facts.sha256):
        raise DigestMismatchError("a block that is called by a SHA-256 has to have it", sha256=facts.sha256)
    turn = _turn(connection, upload.prefix, terms)
    old = find_object(connection, upload.prefix, upload.path)
    upload.demands.check(None if old is None else old.sha256)
    has_same_bytes = old is not None and old.sha256 == facts.sha256
    is_same = has_same_bytes and not (old is not None and old.is_corrupt)
    change = facts.size - (0 if old is None else old.size)
    if not is_same:
        if old is not None and not has_same_bytes:  # damaged bytes may be mended by who still has them
            _require_changeable(turn, old, terms, now)
        _require_room(connection, turn, upload, old, facts.size, terms, now)
        contents.add(connection, content_id, facts, now)
        _write(connection, upload, content_id, facts, old, now)
        prefixes.count(connection, turn, change, int(old is None))
    if old is not None and not is_same:
        contents.release(connection, old.content_id, now)
    reservations.give_back(connection, upload.upload_id)
    event = events.record(
        connection, upload.prefix, upload.path, "POST", now, sha256=facts.sha256, size=facts.size
    )
    row = find_object(connection, upload.prefix, upload.path)
    assert row is not None
    event = replace(event, change=0 if turn.account is None else change)
    return Stored(row=row, is_created=old is None, is_content_used=not is_same, event=event)


def remove(
    connection: Connection, prefix: str, path: str, demands: Demands, terms: Terms, now: int
) -> BlockEvent | None:
    """Remove an object; None when there was none, which is no error and no event.

    Raises:
        NotFoundError: there is no such prefix.
        NotAllowedError: it is another account's, or what is there must stay as it is.
        PreconditionFailedError: a condition of the request does not hold.
    """
    turn = _turn(connection, prefix, terms)
    old = find_object(connection, prefix, path)
    demands.check(None if old is None else old.sha256)
    require_removable(turn, None if old is None else old.modified_at, terms, now)
    if old is None:
        return None
    connection.execute(delete(_OBJECT).where(_OBJECT.c.prefix == prefix, _OBJECT.c.path == path))
    contents.release(connection, old.content_id, now)
    prefixes.count(connection, turn, -old.size, -1)
    event = events.record(connection, prefix, path, "DELETE", now)
    return replace(event, change=0 if turn.account is None else -old.size)


def require_removable(turn: Turn, modified_at: int | None, terms: Terms, now: int) -> None:
    """Return when objects below a prefix may be removed, the newest of them as old as that.

    Args:
        modified_at: milliseconds; None when there is no object.

    Raises:
        NotAllowedError: they have to stay.
    """
    if terms.is_append_only or turn.prefix.is_append_only:
        raise NotAllowedError("what is below this prefix is never removed")
    if modified_at is not None:
        _require_old(modified_at, terms, now)


def _turn(connection: Connection, prefix: str, terms: Terms) -> Turn:
    return _checked(prefixes.take_turn(connection, prefix), terms)


def _checked(turn: Turn, terms: Terms) -> Turn:
    prefixes.require_owner(turn.prefix, terms.account_id)
    if turn.prefix.is_leaving:
        raise NotFoundError("this prefix is being removed")
    return turn


def _require_changeable(turn: Turn, old: ObjectRow, terms: Terms, now: int) -> None:
    if terms.is_append_only or turn.prefix.is_append_only:
        raise NotAllowedError("what is below this prefix is never changed")
    _require_old(old.modified_at, terms, now)


def _require_old(modified_at: int, terms: Terms, now: int) -> None:
    age = max(0, now - modified_at)  # the clock may have been put back
    if age < terms.retain_days * _DAY_MILLISECONDS:
        raise NotAllowedError(f"objects are kept for {terms.retain_days} days")


def _require_room(
    connection: Connection,
    turn: Turn,
    upload: Upload,
    old: ObjectRow | None,
    size: int,
    terms: Terms,
    now: int,
) -> None:
    old_size = None if old is None else old.size
    if turn.account is not None:
        if old is None:
            require_number(
                "objects",
                turn.account.objects,
                prefixes.limit_of(turn.account.max_objects, terms.max_objects),
            )
        reserved = reservations.reserved_of(connection, turn.account.account_id, now, upload.upload_id)
        room = Room(quota=terms.quota, used=turn.account.used, reserved=reserved)
        require_room(room, upload.path, old_size, size, terms.rule)
    if turn.prefix.quota is not None:
        reserved = reservations.reserved_below(connection, upload.prefix, now, upload.upload_id)
        room = Room(quota=turn.prefix.quota, used=turn.prefix.used, reserved=reserved)
        require_room(room, upload.path, old_size, size, terms.rule, prefix=upload.prefix)


def _write(
    connection: Connection,
    upload: Upload,
    content_id: UUID,
    facts: ContentFacts,
    old: ObjectRow | None,
    now: int,
) -> None:
    values = {
        "content_id": content_id,
        "size_bytes": facts.size,
        "sha256": facts.sha256,
        "media_type": upload.media_type,
        "modified_at": now,
    }
    if old is None:
        key = {"prefix": upload.prefix, "path": upload.path}
        connection.execute(insert(_OBJECT).values(**key, **values, version=1, created_at=now))
    else:
        this = (_OBJECT.c.prefix == upload.prefix, _OBJECT.c.path == upload.path)
        connection.execute(update(_OBJECT).where(*this).values(**values, version=old.version + 1))
