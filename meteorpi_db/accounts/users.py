"""Accounts: who may do what, for which cameras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from meteorpi_db import limits, tables
from meteorpi_db.accounts.passwords import hash_password, is_first_generation
from meteorpi_db.dialects import insert_ignore
from meteorpi_model import User, milliseconds_to_utc_datetime
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError

PASSWORD_LENGTH = 1024

_USER = tables.user_account
_CAMERA = tables.user_camera
_DEFAULT_ROLES = ("user",)
_ADMIN = "camera_admin"

Outcome = Literal["none", "create", "update"]


@dataclass(frozen=True)
class Account:
    """An account as an administrator sees it.

    Attributes:
        user: id and roles.
        is_enabled: a disabled account can do nothing at all.
        cameras: the only cameras it may import data of; None for any.
        created_at: UTC.
    """

    user: User
    is_enabled: bool
    cameras: Sequence[str] | None
    created_at: datetime


@dataclass(frozen=True)
class Credentials:
    """What a login is checked against."""

    password_hash: str
    role_mask: int
    is_enabled: bool


def credentials_of(connection: Connection, user_id: str) -> Credentials | None:
    """What is stored for an account; None when there is none, or `user_id` cannot be one."""
    try:
        limits.checked_text(user_id, "user_id", tables.USER_ID_LENGTH)
    except InvalidDocumentError:
        return None
    statement = select(_USER.c.password_hash, _USER.c.role_mask, _USER.c.is_enabled)
    row = connection.execute(statement.where(_USER.c.user_id == user_id)).first()
    return None if row is None else Credentials(row.password_hash, row.role_mask, row.is_enabled)


def all_users(connection: Connection) -> list[User]:
    """Every account by id, ascending."""
    rows = connection.execute(select(_USER.c.user_id, _USER.c.role_mask)).all()
    return [User(row.user_id, row.role_mask) for row in sorted(rows, key=lambda row: str(row.user_id))]


def all_accounts(connection: Connection) -> list[Account]:
    """Every account with all that is known about it, by id."""
    cameras: dict[str, list[str]] = {}
    for row in connection.execute(select(_CAMERA.c.user_id, _CAMERA.c.camera_id)):
        cameras.setdefault(row.user_id, []).append(row.camera_id)
    return [
        Account(
            user=User(row.user_id, row.role_mask),
            is_enabled=row.is_enabled,
            cameras=sorted(cameras.get(row.user_id, [])) if row.is_restricted else None,
            created_at=milliseconds_to_utc_datetime(row.created_at),
        )
        for row in sorted(connection.execute(select(_USER)).all(), key=lambda row: str(row.user_id))
    ]


@dataclass(frozen=True)
class AccountChange:
    """A checked order to create or change an account; None leaves a part as it is."""

    user_id: str
    password_hash: str | None
    role_mask: int | None


def checked_change(user_id: str, password: str | None, roles: Iterable[str] | None) -> AccountChange:
    """Check an order and hash its password, which takes a moment and is best done outside a transaction."""
    checked_id = _checked_user_id(user_id)
    if password is not None:
        limits.checked_text(password, "password", PASSWORD_LENGTH)
    return AccountChange(
        user_id=checked_id,
        password_hash=None if password is None else hash_password(password),
        role_mask=None if roles is None else User.role_mask_from_roles(roles),
    )


def _checked_user_id(user_id: str) -> str:
    checked_id = limits.checked_text(user_id, "user_id", tables.USER_ID_LENGTH)
    if ":" in checked_id:
        raise InvalidDocumentError(
            "user_id must not contain ':', which ends it in HTTP Basic", pointer="/user_id"
        )
    return checked_id


def create_or_update(connection: Connection, change: AccountChange, now: int) -> Outcome:
    """Carry out an order.

    Raises:
        InvalidDocumentError: a new account needs a password.
        ConflictError: nobody would be left to administrate.
    """
    if change.password_hash is None and change.role_mask is None:
        return "none"
    if credentials_of(connection, change.user_id) is None:
        _create(connection, change, now)
        return "create"
    values: dict[str, object] = {}
    if change.password_hash is not None:
        values["password_hash"] = change.password_hash
    if change.role_mask is not None:
        values["role_mask"] = change.role_mask
    _change(connection, change.user_id, values)
    return "update"


def _create(connection: Connection, change: AccountChange, now: int) -> None:
    if change.password_hash is None:
        raise InvalidDocumentError("a new account needs a password", pointer="/password")
    roles = User.role_mask_from_roles(_DEFAULT_ROLES) if change.role_mask is None else change.role_mask
    connection.execute(
        insert(_USER).values(
            user_id=change.user_id,
            password_hash=change.password_hash,
            role_mask=roles,
            is_enabled=True,
            is_restricted=False,
            created_at=now,
        )
    )


def add_with_hash(connection: Connection, user_id: str, password_hash: str, role_mask: int, now: int) -> bool:
    """Make an account whose password is known as a hash only; False when there is one already.

    Raises:
        InvalidDocumentError: `user_id` cannot be that of an account, or the hash is of no known form.
    """
    checked_id = _checked_user_id(user_id)
    if not is_first_generation(password_hash):
        raise InvalidDocumentError("the password hash is of no known form", pointer="/password")
    known = User.role_mask_from_roles(User.roles_from_role_mask(role_mask))
    return insert_ignore(
        connection,
        _USER,
        {
            "user_id": checked_id,
            "password_hash": password_hash,
            "role_mask": known,
            "is_enabled": True,
            "is_restricted": False,
            "created_at": now,
        },
    )


def replace_hash(connection: Connection, user_id: str, old_hash: str, new_hash: str) -> None:
    """Store another hash of the same password, unless the password was changed meanwhile."""
    statement = update(_USER).where(_USER.c.user_id == user_id, _USER.c.password_hash == old_hash)
    connection.execute(statement.values(password_hash=new_hash))


def _change(connection: Connection, user_id: str, values: dict[str, object]) -> None:
    with _keeping_an_admin(connection):
        connection.execute(update(_USER).where(_USER.c.user_id == user_id).values(values))


def set_roles(connection: Connection, changes: Mapping[str, int]) -> None:
    """Give accounts new role masks, all of them or none.

    Raises:
        NotFoundError: one of the accounts does not exist.
        ConflictError: nobody would be left to administrate.
    """
    with _keeping_an_admin(connection):
        for user_id, role_mask in changes.items():
            require_user(connection, user_id)
            connection.execute(update(_USER).where(_USER.c.user_id == user_id).values(role_mask=role_mask))


def delete_user(connection: Connection, user_id: str, keep_administrator: bool = True) -> bool:
    """Delete an account with its tokens; False when there was none.

    Raises:
        ConflictError: nobody would be left to administrate, and `keep_administrator` forbids that.
    """
    statement = delete(_USER).where(_USER.c.user_id == user_id)
    with _keeping_an_admin(connection) if keep_administrator else nullcontext():
        return bool(connection.execute(statement).rowcount)


def set_enabled(connection: Connection, user_id: str, is_enabled: bool) -> None:
    """Enable or disable an account.

    Raises:
        NotFoundError: no such account.
        ConflictError: nobody would be left to administrate.
    """
    require_user(connection, user_id)
    _change(connection, user_id, {"is_enabled": bool(is_enabled)})


@contextmanager
def _keeping_an_admin(connection: Connection) -> Iterator[None]:
    """Refuse what is done inside when it takes the last account that may administrate (B-48)."""
    # Holds off other changes of accounts, so that two of them cannot each count on the other's administrator.
    connection.execute(update(_USER).values(created_at=_USER.c.created_at))
    had_admin = _has_admin(connection)
    yield
    if had_admin and not _has_admin(connection):
        raise ConflictError("this is the last account that may administrate: make another one first")


def _has_admin(connection: Connection) -> bool:
    masks = connection.execute(select(_USER.c.role_mask).where(_USER.c.is_enabled.is_(True))).scalars()
    return any(_ADMIN in User.roles_from_role_mask(mask) for mask in masks)


def require_user(connection: Connection, user_id: str) -> Credentials:
    """What is stored for an account; `NotFoundError` when there is none."""
    found = credentials_of(connection, user_id)
    if found is None:
        raise NotFoundError(f"there is no account {user_id!r}")
    return found


def set_cameras(connection: Connection, user_id: str, camera_ids: Sequence[str] | None) -> None:
    """Restrict what an account may import to some cameras (an empty list: none); None lifts that."""
    require_user(connection, user_id)
    connection.execute(delete(_CAMERA).where(_CAMERA.c.user_id == user_id))
    rows = [
        {"user_id": user_id, "camera_id": limits.checked_camera_id(camera)}
        for camera in sorted(set(camera_ids or ()))
    ]
    if rows:
        connection.execute(insert(_CAMERA), rows)
    restricted = camera_ids is not None
    connection.execute(update(_USER).where(_USER.c.user_id == user_id).values(is_restricted=restricted))


def cameras_of(connection: Connection, user_id: str) -> list[str] | None:
    """The only cameras an account may import data of; None for any."""
    is_restricted = connection.execute(
        select(_USER.c.is_restricted).where(_USER.c.user_id == user_id)
    ).scalar()
    if not is_restricted:
        return None
    found = connection.execute(select(_CAMERA.c.camera_id).where(_CAMERA.c.user_id == user_id)).scalars()
    return sorted(found)
