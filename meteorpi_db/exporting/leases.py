"""Leases: at most one owner of a name at a time, for a limited time, among all processes of a database.

Each step is one guarded UPDATE, so it does not matter how two processes interleave. Times are those of the
processes that ask; their clocks must agree to a fraction of the time a lease lasts.
"""

from __future__ import annotations

from sqlalchemy import Connection, or_, select, update

from meteorpi_db import limits, tables
from meteorpi_db.dialects import insert_ignore

_LEASE = tables.lease
_NAME_LENGTH = 64


def acquire(connection: Connection, name: str, owner: str, now: int, until: int) -> bool:
    """Take a lease that is free, has run out, or is the owner's own already; False when another has it."""
    checked = limits.checked_text(name, "lease", _NAME_LENGTH)
    limits.checked_text(owner, "owner", tables.NAME_LENGTH)
    insert_ignore(connection, _LEASE, {"name": checked, "owner": None, "expires_at": 0})
    is_free = or_(_LEASE.c.owner.is_(None), _LEASE.c.owner == owner, _LEASE.c.expires_at <= now)
    statement = update(_LEASE).where(_LEASE.c.name == checked, is_free)
    return connection.execute(statement.values(owner=owner, expires_at=until)).rowcount == 1


def renew(connection: Connection, name: str, owner: str, now: int, until: int) -> bool:
    """Prolong a lease that is still held; False when it ran out, even if nobody else took it."""
    statement = update(_LEASE).where(
        _LEASE.c.name == name, _LEASE.c.owner == owner, _LEASE.c.expires_at > now
    )
    return connection.execute(statement.values(expires_at=until)).rowcount == 1


def is_abandoned(connection: Connection, name: str, now: int) -> bool:
    """Whether a lease ran out and was not given back: its owner was killed, frozen, or lost the database."""
    condition = (_LEASE.c.name == name, _LEASE.c.owner.is_not(None), _LEASE.c.expires_at <= now)
    return connection.execute(select(_LEASE.c.name).where(*condition)).first() is not None


def release(connection: Connection, name: str, owner: str) -> bool:
    """Give a lease back; False when it was not held."""
    statement = update(_LEASE).where(_LEASE.c.name == name, _LEASE.c.owner == owner)
    return connection.execute(statement.values(owner=None, expires_at=0)).rowcount == 1
