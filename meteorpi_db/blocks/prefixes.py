"""Accounts and prefixes: made, listed, changed and removed; and the turn to change anything of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, delete, select, update

from meteorpi_db.blocks.names import checked_prefix
from meteorpi_db.blocks.quota import require_number
from meteorpi_db.blocks.rows import AccountRow, PrefixRow, find_account, find_prefix, prefix_from
from meteorpi_db.blocks.tables import block_account, block_prefix
from meteorpi_db.dialects import insert_ignore
from meteorpi_model.errors import ConflictError, NotAllowedError, NotFoundError

_ACCOUNT = block_account
_PREFIX = block_prefix
CHANGEABLE: Final = frozenset({"label", "read_policy", "is_append_only", "quota"})


@dataclass(frozen=True)
class Turn:
    """The right to change a prefix, for the rest of a transaction.

    Attributes:
        prefix: as it is now.
        account: its owner as it is now, None for a prefix that nobody owns.
    """

    prefix: PrefixRow
    account: AccountRow | None


def ensure_account(connection: Connection, account_id: str, source: str, now: int) -> AccountRow:
    """The account, made now unless it was before."""
    insert_ignore(
        connection, _ACCOUNT, {"account_id": account_id, "source": source, "created_at": now, **_NOTHING_YET}
    )
    account = find_account(connection, account_id)
    assert account is not None
    return account


_NOTHING_YET: Final[dict[str, Any]] = {"is_active": True, "used": 0, "objects": 0, "turn": 0}


def create_prefix(
    connection: Connection, account_id: str, now: int, name: str | None = None, max_prefixes: int = 0
) -> PrefixRow:
    """A new prefix of an account.

    Args:
        name: None gives it a UUID.
        max_prefixes: how many an account may have that has no such limit of its own; 0 for any number.

    Raises:
        ConflictError: there is one of this name.
        QuotaReachedError: it has as many as it may have.
    """
    _require_number(connection, account_id, max_prefixes)
    chosen = str(uuid4()) if name is None else checked_prefix(name)
    if not insert_ignore(connection, _PREFIX, _new_prefix(chosen, account_id, now)):
        raise ConflictError("there is a prefix of this name")
    return _require_prefix(connection, chosen)


def _require_number(connection: Connection, account_id: str, max_prefixes: int) -> None:
    account = find_account(connection, account_id)
    most = None if account is None else limit_of(account.max_prefixes, max_prefixes)
    if most is not None:
        _take_account_turn(connection, account_id)
        require_number("prefixes", len(prefixes_of(connection, account_id)), most)


def limit_of(own: int | None, default: int) -> int | None:
    """A limit of numbers: that of an account where it has one, else the default; None for any number."""
    return (default if own is None else own) or None


def ensure_ownerless(connection: Connection, name: str, now: int) -> PrefixRow:
    """The prefix, made without an owner unless it was there before, or has just been removed."""
    insert_ignore(connection, _PREFIX, _new_prefix(checked_prefix(name), None, now))
    this = (_PREFIX.c.name == name, _PREFIX.c.account_id.is_(None))
    is_gone = (_PREFIX.c.is_leaving.is_(True), _PREFIX.c.objects == 0)
    connection.execute(update(_PREFIX).where(*this, *is_gone).values(is_leaving=False))
    return _require_prefix(connection, name)


def _new_prefix(name: str, account_id: str | None, now: int) -> dict[str, Any]:
    return {
        "name": name,
        "account_id": account_id,
        "label": "",
        "is_append_only": False,
        "used": 0,
        "objects": 0,
        "sequence": 0,
        "is_leaving": False,
        "created_at": now,
    }


def prefixes_of(connection: Connection, account_id: str) -> list[PrefixRow]:
    """Those of an account that are not being removed, in order of their names."""
    is_staying = (_PREFIX.c.account_id == account_id, _PREFIX.c.is_leaving.is_(False))
    statement = select(_PREFIX).where(*is_staying).order_by(_PREFIX.c.name)
    return [prefix_from(row) for row in connection.execute(statement)]


def change_prefix(connection: Connection, name: str, **changes: object) -> PrefixRow:
    """Set some of `CHANGEABLE`.

    Raises:
        NotFoundError: there is no such prefix.
    """
    assert changes.keys() <= CHANGEABLE
    if changes:
        connection.execute(update(_PREFIX).where(_PREFIX.c.name == name).values(**changes))
    return _require_prefix(connection, name)


def delete_prefix(connection: Connection, name: str) -> None:
    """Remove a prefix without objects.

    Raises:
        NotFoundError: there is no such prefix.
        ConflictError: there are objects below it.
    """
    turn = take_turn(connection, name)
    if turn.prefix.objects:
        raise ConflictError(f"{turn.prefix.objects} objects are below this prefix")
    connection.execute(delete(_PREFIX).where(_PREFIX.c.name == name))


def require_owner(prefix: PrefixRow, account_id: str | None) -> None:
    """Return when the account may change what is below the prefix.

    Args:
        account_id: None for one that owns nothing and may change what nobody owns.

    Raises:
        NotAllowedError: it may not.
    """
    if prefix.account_id != account_id:
        raise NotAllowedError("this prefix belongs to another account")


def look_at(connection: Connection, name: str) -> Turn:
    """A prefix and its account as they are now, which others may be about to change.

    Raises:
        NotFoundError: there is no such prefix.
    """
    prefix = _require_prefix(connection, name)
    return Turn(prefix, None if prefix.account_id is None else find_account(connection, prefix.account_id))


def take_turn(connection: Connection, name: str) -> Turn:
    """Be alone with a prefix and its whole account until the transaction ends.

    Raises:
        NotFoundError: there is no such prefix.
    """
    account_id = _require_prefix(connection, name).account_id
    if account_id is not None:
        _take_account_turn(connection, account_id)
    else:
        this = _PREFIX.c.name == name
        connection.execute(update(_PREFIX).where(this).values(sequence=_PREFIX.c.sequence))
    account = None if account_id is None else find_account(connection, account_id)
    return Turn(_require_prefix(connection, name), account)


def await_turn(connection: Connection, name: str) -> None:
    """Come after all that is under way below a prefix now; there is nothing where it does not exist."""
    with suppress(NotFoundError):
        take_turn(connection, name)


def _take_account_turn(connection: Connection, account_id: str) -> None:
    mine = _ACCOUNT.c.account_id == account_id
    connection.execute(update(_ACCOUNT).where(mine).values(turn=_ACCOUNT.c.turn + 1))


def count(connection: Connection, turn: Turn, used: int, objects: int) -> None:
    """Add to what is counted of a prefix and its account; negative numbers take away."""
    if not used and not objects:
        return
    prefix = update(_PREFIX).where(_PREFIX.c.name == turn.prefix.name)
    connection.execute(prefix.values(used=_PREFIX.c.used + used, objects=_PREFIX.c.objects + objects))
    if turn.account is not None:
        account = update(_ACCOUNT).where(_ACCOUNT.c.account_id == turn.account.account_id)
        connection.execute(account.values(used=_ACCOUNT.c.used + used, objects=_ACCOUNT.c.objects + objects))


def _require_prefix(connection: Connection, name: str) -> PrefixRow:
    found = find_prefix(connection, name)
    if found is None:
        raise NotFoundError("there is no such prefix")
    return found
