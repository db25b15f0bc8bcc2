"""Where the processes of a node share what they count."""

from __future__ import annotations

from pathlib import Path

from meteorpi_db.filestore import FileStore, LocalFileStore
from meteorpi_server.tallies.base import MemoryTally, Tally
from meteorpi_server.tallies.shared import SharedTally


def tally_of_node(directory: str, store: FileStore) -> Tally:
    """The sums of all processes of a node.

    Args:
        directory: that they share; empty for one beside the file store.
        store: of the node; beside one that is no directory each process counts for itself.
    """
    if directory:
        return SharedTally(Path(directory))
    if isinstance(store, LocalFileStore):
        root = store.layout.root
        return SharedTally(root.with_name(f"{root.name}-metrics"))
    return MemoryTally()
