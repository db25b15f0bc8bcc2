"""A content that is missing or damaged, from wherever the right bytes are held.

They are looked for in the store that is read where the first has nothing, in other stores and at other nodes
that whoever mends knows of, and among contents that were recorded with the same SHA-256.

Source: S-140 of the storage contract.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from meteorpi_db.connections import Transactions
from meteorpi_db.filestore import FallbackFileStore, FileStore
from meteorpi_db.filestore.copying import sha256_of
from meteorpi_db.filestore.pacing import Pace
from meteorpi_db.ledgers import Ledger, RecordedContent
from meteorpi_model.errors import MeteorError, NotFoundError

logger = logging.getLogger("meteorpi.db.integrity")


class ContentSource(Protocol):
    """Where right bytes may be: a file store, or another node."""

    @property
    def location(self) -> str:
        """Where it is, fit to be logged."""

    def open(self, file_id: UUID, /) -> AbstractContextManager[Iterable[bytes]]:
        """The bytes of a content.

        Raises:
            NotFoundError: it is not there.
        """


class Mender:
    """Brings contents back.

    Args:
        transactions: the database.
        store: where they have to be.
        ledgers: what is recorded.
        others: further places to look in, under the same ids.
        pace: limits the bytes read.
    """

    def __init__(
        self,
        transactions: Transactions,
        store: FileStore,
        ledgers: Sequence[Ledger],
        others: Sequence[ContentSource],
        pace: Pace,
    ) -> None:
        self._transactions = transactions
        self._store = store
        self._ledgers = ledgers
        self._others = others
        self._pace = pace

    def is_right(self, source: ContentSource, content_id: UUID, sha256: str) -> bool:
        """Whether `source` gives the bytes with that SHA-256 under that id; reads all of them."""
        try:
            with source.open(content_id) as chunks:
                return sha256_of(self._pace.through(chunks)) == sha256
        except NotFoundError:
            return False

    def mend(self, content: RecordedContent) -> bool:
        """Put the right bytes in place of the wrong; False when nobody has them."""
        for source, found_id in self._candidates(content):
            if self._has(source, found_id, content):
                self._replace(content, source, found_id)
                logger.info(
                    "content mended file_id=%s from=%s in=%s",
                    content.content_id.hex,
                    found_id.hex,
                    source.location,
                )
                return True
        return False

    def _has(self, source: ContentSource, found_id: UUID, content: RecordedContent) -> bool:
        try:
            return self.is_right(source, found_id, content.facts.sha256)
        except MeteorError as error:
            if source is self._store:
                raise
            logger.warning("not asked for a content in=%s reason=%s", source.location, error)
            return False

    def _candidates(self, content: RecordedContent) -> Iterator[tuple[ContentSource, UUID]]:
        """Places and ids where the right bytes may be, what is likeliest first."""
        if isinstance(self._store, FallbackFileStore):
            yield self._store.fallback, content.content_id
        for other in self._others:
            yield other, content.content_id
        with self._transactions.reading() as connection:
            twins = [twin for ledger in self._ledgers for twin in ledger.equal_to(connection, content)]
        for twin in twins:
            yield self._store, twin

    def _replace(self, content: RecordedContent, source: ContentSource, found_id: UUID) -> None:
        """Only the first of two stores is written to, which is the one that is read first."""
        target = self._store.primary if isinstance(self._store, FallbackFileStore) else self._store
        digests = {"md5": content.facts.md5, "sha256": content.facts.sha256}
        with source.open(found_id) as chunks:
            target.delete(content.content_id)
            target.put(content.content_id, chunks, size=content.facts.size, digests=digests)
