"""Who may store how much: the rule, without any database.

Source: A.6 and K-210 to K-212 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meteorpi_db.blocks.names import is_block
from meteorpi_model.errors import QuotaReachedError

DEFAULT_QUOTA_BYTES: Final = 2 << 30
DEFAULT_TRAFFIC_BYTES: Final = 20 << 30
GROWTH_BYTES: Final = 150 << 10
GRACE_BYTES: Final = 16 << 20


@dataclass(frozen=True, kw_only=True)
class QuotaRule:
    """What is allowed beyond the quota.

    Attributes:
        growth_bytes: an object that is no block may grow by less than this, since clients keep there what
            they know of their files.
        grace_bytes: until the account is so far above its quota.
    """

    growth_bytes: int = GROWTH_BYTES
    grace_bytes: int = GRACE_BYTES


@dataclass(frozen=True, kw_only=True)
class Room:
    """What an account, or a prefix, has and may have; bytes.

    Attributes:
        quota: the limit, None for no limit.
        used: by all objects, the one that is replaced among them.
        reserved: for other uploads under way.
    """

    quota: int | None
    used: int
    reserved: int = 0


def require_room(
    room: Room, path: str, old_size: int | None, new_size: int, rule: QuotaRule, *, prefix: str | None = None
) -> None:
    """Return when an object of `new_size` bytes may be stored.

    Args:
        room: of the account, or the prefix.
        path: of the object.
        old_size: bytes of the object that it replaces, None when there is none.
        new_size: bytes of the new one.
        rule: what is allowed beyond the quota.
        prefix: its name, when the room is that of a prefix.

    Raises:
        QuotaReachedError: there is no room.
    """
    if room.quota is None:
        return
    growth = new_size - (old_size or 0)
    after = room.used + room.reserved + growth
    if after <= room.quota or (old_size is not None and growth <= 0):
        return
    is_metadata_update = old_size is not None and not is_block(path) and growth < rule.growth_bytes
    if is_metadata_update and after <= room.quota + rule.grace_bytes:
        return
    named = {} if prefix is None else {"prefix": prefix}
    raise QuotaReachedError("Quota reached", quota=room.quota, size=room.used, requested=new_size, **named)


def require_number(what: str, present: int, most: int | None) -> None:
    """Return when an account may have one more of something.

    Args:
        what: for people, such as ``objects``.
        present: how many it has.
        most: how many it may have, None for any number.

    Raises:
        QuotaReachedError: it has as many as it may have.
    """
    if most is not None and present >= most:
        raise QuotaReachedError(
            f"Quota reached: an account may have {most} {what}", quota=most, size=present, requested=1
        )
