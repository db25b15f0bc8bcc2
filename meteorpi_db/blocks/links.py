"""How often links to objects may still be used; links without such a limit are not kept anywhere.

Source: K-139 of the storage contract.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, delete, insert, update

from meteorpi_db.blocks.tables import block_link

_LINK = block_link


def create(connection: Connection, prefix: str, path: str, uses: int, expires_at: int) -> str:
    """Keep how often a new link may be used; gives its id.

    Args:
        prefix, path: of the object.
        uses: at least 1.
        expires_at: milliseconds.
    """
    link_id = secrets.token_hex(16)
    connection.execute(
        insert(_LINK).values(link_id=link_id, prefix=prefix, path=path, uses_left=uses, expires_at=expires_at)
    )
    return link_id


def use(connection: Connection, link_id: str, prefix: str, path: str, now: int) -> bool:
    """Use a link once; False when it cannot be used any more, or leads elsewhere."""
    this = (_LINK.c.link_id == link_id, _LINK.c.prefix == prefix, _LINK.c.path == path)
    may = (_LINK.c.uses_left > 0, _LINK.c.expires_at > now)
    once = update(_LINK).where(*this, *may).values(uses_left=_LINK.c.uses_left - 1)
    return connection.execute(once).rowcount == 1


def forget_expired(connection: Connection, now: int) -> int:
    """Remove those whose time is over; gives their number."""
    return connection.execute(delete(_LINK).where(_LINK.c.expires_at <= now)).rowcount
