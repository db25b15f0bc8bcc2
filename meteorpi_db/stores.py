"""Where the contents of a node are: those of recordings in its file store, of blocks there or elsewhere.

Which store holds a block is asked of the stores and not recorded, so that contents can be moved between them
while the node is at work, and a node that is given a store for blocks goes on serving those it has.

Source: B.2 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meteorpi_db.filestore import FileStore
from meteorpi_db.filestore.fallback import FallbackFileStore
from meteorpi_db.ledgers import BLOCKS, FILES, LEDGERS, Ledger


@dataclass(frozen=True, kw_only=True)
class Place:
    """One of the stores of a node, for whoever looks after contents.

    Attributes:
        store: what it holds.
        seen_from: what those see who read the contents recorded in `ledgers`.
        ledgers: what is to be looked for there.
        blocks: where contents of blocks are read, and removed when they are released.
    """

    store: FileStore
    seen_from: FileStore
    ledgers: Sequence[Ledger]
    blocks: FileStore


class NodeStores:
    """The stores of a node.

    Args:
        files: contents of recordings.
        own: contents of blocks; None for those that are beside recordings.

    Attributes:
        files: as given.
        blocks: where contents of blocks are written, and read: `own` first, then `files`.
        everything: gives every content of the node, wherever it is; nothing is written to it.
    """

    def __init__(self, files: FileStore, own: FileStore | None = None) -> None:
        self.files = files
        self._own = own
        self.blocks = files if own is None else FallbackFileStore(own, files)
        self.everything = files if own is None else FallbackFileStore(files, own)

    def places(self) -> list[Place]:
        """Each store once."""
        if self._own is None:
            return [Place(store=self.files, seen_from=self.files, ledgers=LEDGERS, blocks=self.blocks)]
        return [
            Place(store=self.files, seen_from=self.files, ledgers=(FILES,), blocks=self.blocks),
            Place(store=self._own, seen_from=self.blocks, ledgers=(BLOCKS,), blocks=self.blocks),
        ]
