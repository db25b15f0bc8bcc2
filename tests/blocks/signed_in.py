"""Users of a node who have a token for blocks.

A password takes 40 ms to check, on purpose; a test that sends a dozen requests sends the token with them.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, insert

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts.users import AccountChange, checked_change, create_or_update
from meteorpi_db.blocks.prefixes import ensure_account
from meteorpi_db.blocks.tables import block_token

PASSWORD: Final = "pass word ☄"


def add_users(db: MeteorDatabase, *users: str) -> None:
    """Make users with `PASSWORD` and with the token that :func:`signed_in` sends."""

    def operation(connection: Connection) -> None:
        for user in users:
            create_or_update(connection, _change(user), 0)
            ensure_account(connection, f"local:{user}", "local", 0)
            row = {
                "digest": hashlib.sha256(_secret(user).encode()).hexdigest(),
                "scopes": "",
                "created_at": 0,
            }
            connection.execute(insert(block_token).values(**row, account_id=f"local:{user}", name="tests"))

    db.transactions.write(operation)


def signed_in(user: str) -> dict[str, str]:
    """The header of a request of this user."""
    return {"Authorization": f"Token {_secret(user)}"}


def _secret(user: str) -> str:
    return f"mpb_of-{user}"


@lru_cache
def _change(user: str) -> AccountChange:
    return checked_change(user, PASSWORD, ["user"])
