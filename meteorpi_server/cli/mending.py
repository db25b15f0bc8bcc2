"""Where the right bytes of damaged contents may be: other stores, and other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from uuid import UUID

from meteorpi_client import MeteorClient
from meteorpi_db.filestore import open_file_store
from meteorpi_db.mending import ContentSource

_SCHEMES = ("http://", "https://")


class PeerContents:
    """The contents of files at another node, which has them under the same ids.

    Args:
        client: of that node.
    """

    def __init__(self, client: MeteorClient) -> None:
        self._client = client

    @property
    def location(self) -> str:
        """The address of the node."""
        return self._client.base_url

    def open(self, file_id: UUID, /) -> AbstractContextManager[Iterator[bytes]]:
        """See :class:`ContentSource`."""
        return self._client.open_content(file_id)


@contextmanager
def open_sources(locations: Sequence[str]) -> Iterator[list[ContentSource]]:
    """Stores and nodes at `locations`; each was reached.

    Raises:
        MeteorError: one cannot be reached, or is no store.
    """
    with ExitStack() as stack:
        yield [_open_source(location, stack) for location in locations]


def _open_source(location: str, stack: ExitStack) -> ContentSource:
    if location.lower().startswith(_SCHEMES):
        client = stack.enter_context(MeteorClient(location))
        client.list_cameras()
        return PeerContents(client)
    store = open_file_store(location)
    store.check()
    return store
