"""Blocks for tests: accounts, contents, and changes in one call."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, func, select

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import changes, prefixes, rows
from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.conditions import Demands
from meteorpi_db.blocks.events import BlockEvent
from meteorpi_db.blocks.tables import block_content, block_object
from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import ContentFacts
from meteorpi_model import utc_datetime_to_milliseconds

ACCOUNT = "local:anna"
OTHER = "local:bert"
PREFIX = "first"
NOW = 1_763_800_000_000


def facts_of(content: bytes) -> ContentFacts:
    return ContentFacts(
        size=len(content),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest(),
        crc32=zlib.crc32(content),
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Blocks:
    """Changes of one database, each in a transaction of its own."""

    def __init__(self, transactions: Transactions, **terms: Any) -> None:
        self.transactions = transactions
        self.terms = Terms(account_id=ACCOUNT, **terms)
        self.now = NOW

    def make(self, prefix: str = PREFIX, account_id: str = ACCOUNT) -> str:
        """A prefix, with its account."""

        def operation(connection: Any) -> str:
            prefixes.ensure_account(connection, account_id, "local", self.now)
            return prefixes.create_prefix(connection, account_id, self.now, prefix).name

        return self.transactions.write(operation)

    def store(self, path: str, content: bytes, prefix: str = PREFIX, **demands: str) -> Stored:
        upload = Upload(prefix=prefix, path=path, demands=Demands(**demands))
        content_id, facts = uuid4(), facts_of(content)
        return self.transactions.write(
            lambda c: changes.store(c, upload, content_id, facts, self.terms, self.now)
        )

    def remove(self, path: str, prefix: str = PREFIX, **demands: str) -> BlockEvent | None:
        return self.transactions.write(
            lambda c: changes.remove(c, prefix, path, Demands(**demands), self.terms, self.now)
        )

    def find(self, path: str, prefix: str = PREFIX) -> str | None:
        """SHA-256 of an object."""
        with self.transactions.reading() as connection:
            found = rows.find_object(connection, prefix, path)
        return None if found is None else found.sha256

    def counted(self, account_id: str = ACCOUNT) -> tuple[int, int]:
        """Bytes and objects by the counter of the account."""
        with self.transactions.reading() as connection:
            account = rows.find_account(connection, account_id)
        assert account is not None
        return account.used, account.objects

    def recounted(self) -> tuple[int, int]:
        """The same from the objects of everybody."""
        with self.transactions.reading() as connection:
            statement = select(func.coalesce(func.sum(block_object.c.size_bytes), 0), func.count())
            used, objects = connection.execute(statement).one()
        return int(used), int(objects)

    def contents_in_use(self) -> int:
        with self.transactions.reading() as connection:
            statement = select(func.count()).where(block_content.c.uses > 0).select_from(block_content)
            return int(connection.execute(statement).scalar_one())


class StoredBlocks(Blocks):
    """The same with the bytes in the file store of a node, in the order that uploads keep (K-405)."""

    def __init__(self, db: MeteorDatabase, **terms: Any) -> None:
        super().__init__(db.transactions, **terms)
        self._db = db

    def make_ownerless(self, prefix: str) -> str:
        """A prefix that nobody owns."""
        return self.transactions.write(lambda c: prefixes.ensure_ownerless(c, prefix, self.now)).name

    def store(self, path: str, content: bytes, prefix: str = PREFIX, **demands: str) -> Stored:
        upload = Upload(prefix=prefix, path=path, demands=Demands(**demands))
        content_id = uuid4()
        stored = self._db.stores.blocks.put(content_id, [content])
        self.now = utc_datetime_to_milliseconds(self._db.clock())

        def operation(connection: Connection) -> Stored:
            found = rows.find_prefix(connection, prefix)
            terms = self.terms if found is None else replace(self.terms, account_id=found.account_id)
            return changes.store(connection, upload, content_id, stored, terms, self.now)

        return self.transactions.write(operation)

    def remove(self, path: str, prefix: str = PREFIX, **demands: str) -> BlockEvent | None:
        self.now = utc_datetime_to_milliseconds(self._db.clock())
        return super().remove(path, prefix, **demands)
