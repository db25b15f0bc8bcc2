"""An object that comes in one request.

Source: K-122 to K-127 and K-405 of the storage contract.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid4

from meteorpi_db.blocks.changes import Stored, Terms, Upload
from meteorpi_db.blocks.register import BlockRegister
from meteorpi_db.filestore import Digests, FileStore
from meteorpi_model.errors import MeteorError
from meteorpi_server.block_api.transfers import Transfers

logger = logging.getLogger("meteorpi.block.objects")


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """The body of an upload.

    Attributes:
        chunks: its bytes; raises when it is cut off.
        size: announced bytes, None when nothing was announced.
        digests: announced digests.
    """

    chunks: Iterable[bytes]
    size: int | None
    digests: Digests


class Receiver:
    """Takes bodies in.

    Args:
        register: prefixes and objects.
        store: where bytes are.
        transfers: turns at the store.
    """

    def __init__(self, register: BlockRegister, store: FileStore, transfers: Transfers) -> None:
        self._register = register
        self._store = store
        self._transfers = transfers

    def receive(self, upload: Upload, incoming: Incoming, terms: Terms) -> Stored:
        """Make a body the object.

        What can be refused is refused before the first byte is read. Once the bytes are durable one
        transaction makes them the object; nothing after it can fail.

        Raises:
            NotFoundError, NotAllowedError, PreconditionFailedError, QuotaReachedError: it may not be.
            IncompleteBodyError, DigestMismatchError: it is not what was announced; nothing is changed.
            StoreFullError, UnavailableError: the node cannot.
        """
        content_id = uuid4()
        self._register.announce(upload, incoming.size, terms, content_id)
        try:
            facts = self._transfers.write(
                incoming.chunks,
                lambda chunks: self._store.put(
                    content_id, chunks, size=incoming.size, digests=incoming.digests
                ),
            )
            stored = self._register.store(upload, content_id, facts, terms)
        except BaseException:
            self._give_up(upload, content_id)
            raise
        if not stored.is_content_used:
            self._remove_spare(content_id)
        return stored

    def _remove_spare(self, content_id: UUID) -> None:
        """The same bytes were there; what cannot be removed now is found by whoever looks for orphans."""
        try:
            self._store.delete(content_id)
        except MeteorError as error:
            logger.warning("spare content stays for now content_id=%s reason=%s", content_id.hex, error)

    def _give_up(self, upload: Upload, content_id: UUID) -> None:
        """After an upload that failed; what cannot be undone now lapses, or is swept, later."""
        try:
            if not self._register.give_up(upload, content_id):
                self._store.delete(content_id)
        except MeteorError as error:
            logger.warning("a failed upload is cleared up later reason=%s", error)


def new_upload_id() -> str:
    """A name for an upload that nobody can guess."""
    return secrets.token_hex(32)
