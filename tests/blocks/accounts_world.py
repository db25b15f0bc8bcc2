"""Sources of accounts for tests: the node's own with two users, and what else is needed around them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts import passwords
from meteorpi_db.blocks import prefixes, tokens
from meteorpi_db.blocks.directory import BlockDirectory, stored_id
from meteorpi_server.block_accounts.local import LocalAccounts

USER = "anna"
PASSWORD = "correct horse"
GIB = 1 << 30


@contextmanager
def quick_passwords() -> Iterator[None]:
    """Hash passwords with so little work that a test can afford it."""
    kept, passwords.SCRYPT_LOG2_N = passwords.SCRYPT_LOG2_N, 1
    try:
        yield
    finally:
        passwords.SCRYPT_LOG2_N = kept


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class LocalWorld:
    """A node that knows `USER`, who has a token.

    Attributes:
        directory: what the database knows of accounts.
        accounts: the source.
        token: the header with the token.
    """

    def __init__(self, db: MeteorDatabase) -> None:
        self.db = db
        db.create_or_update_user(USER, PASSWORD, ["user"])
        self.directory = BlockDirectory(db)
        self.accounts = LocalAccounts(self.directory)
        self.token = f"Token {self.make_token('first')}"

    def make_token(self, name: str, expires_at: int | None = None) -> str:
        stored = stored_id("local", USER)

        def operation(connection: Connection) -> str:
            prefixes.ensure_account(connection, stored, "local", 0)
            return tokens.create(connection, stored, name, expires_at, 0)

        return self.db.transactions.write(operation)

    def revoke_token(self, name: str) -> None:
        self.db.transactions.write(lambda c: tokens.revoke(c, stored_id("local", USER), name))
