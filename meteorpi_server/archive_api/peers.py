"""The nodes that records came from, which still may have contents that are not here.

A content there is the one that was recorded here if its size and CRC-32 are: it is checked on its way like
any other, so an archive has the same bytes whichever node holds a content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.archiving import Entry, Form, OnError
from meteorpi_server.outbound import Location, OutboundError

_CONTENTS = "files/content/"
_DESCRIPTIONS = "file/"


@dataclass(frozen=True)
class Peers:
    """Where to find the nodes that records came from.

    Attributes:
        base_urls: by the account with which a node brings its records, each with its slash.
    """

    base_urls: Mapping[str, str]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read entries of the form ``account=https://node.example/path``.

        Raises:
            ConfigurationError: an entry is none.
        """
        found: dict[str, str] = {}
        for text in texts:
            account, _, url = text.partition("=")
            try:
                Location.parse(url.strip())
            except OutboundError as error:
                detail = f"archive_peers: {text!r} is not ACCOUNT=URL: {error.detail}"
                raise ConfigurationError(detail) from error
            found[account.strip()] = f"{url.strip().rstrip('/')}/"
        return cls(found)

    @property
    def prefixes(self) -> list[str]:
        """What may be asked of them, wherever they are."""
        return [f"{url}{route}" for url in self.base_urls.values() for route in (_CONTENTS, _DESCRIPTIONS)]

    def content_url(self, account: str | None, file_id: UUID) -> str | None:
        """Where the content of a record is, that came with `account`; None when nobody knows."""
        base_url = None if account is None else self.base_urls.get(account)
        return None if base_url is None else f"{base_url}{_CONTENTS}{file_id.hex}"


NO_PEERS = Peers({})


def at_a_peer(entry: Entry, url: str, md5: str | None, on_error: OnError) -> Entry:
    """The entry of a record whose content another node gives.

    Args:
        entry: as if the content were here.
        url: where it is.
        md5: of the content, which is the entity tag of contents at nodes: a part that was asked for is of it.
        on_error: where that lets the content end early, its end must be found without knowing its length.
    """
    details = {} if md5 is None else {"etag": f'"{md5}"'}
    form = entry.form if on_error is OnError.ABORT else Form.STREAMED
    return replace(entry, kind="url", reference=url, form=form, details=details)
