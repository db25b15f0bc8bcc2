"""What one entry of an archive is, before anything of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

NO_DETAILS: Final[Mapping[str, object]] = MappingProxyType({})
"""The details of an entry of which nothing more is known."""


class Form(StrEnum):
    """How the content of an entry stands in the archive. Chosen once, when the plan is made.

    Attributes:
        STORED: as it is; size and CRC-32 are known.
        BLOCKS: method 8 made of stored blocks, with a descriptor; the size is known, the CRC need not be.
        DEFLATED: a raw DEFLATE body that is at hand; both sizes and the CRC are known.
        STREAMED: method 8 with a descriptor; the length in the archive is not known.
        ENCRYPTED: as it is, under a password; the size is known, the CRC need not be.
        ENCRYPTED_STREAMED: as STREAMED, under a password.
    """

    STORED = "stored"
    BLOCKS = "blocks"
    DEFLATED = "deflated"
    STREAMED = "streamed"
    ENCRYPTED = "encrypted"
    ENCRYPTED_STREAMED = "encrypted-streamed"

    @property
    def is_encrypted(self) -> bool:
        """Whether the content stands under a password."""
        return self is Form.ENCRYPTED or self is Form.ENCRYPTED_STREAMED

    @property
    def is_streamed(self) -> bool:
        """Whether the length in the archive shows only when the content has been sent."""
        return self is Form.STREAMED or self is Form.ENCRYPTED_STREAMED


@dataclass(slots=True, kw_only=True)
class Entry:
    """One entry of a plan; never changed once it is made.

    Not frozen, because that doubles what it costs to make one, and thousands are made before a first byte.

    Attributes:
        name: as it stands in the archive: cleaned and unique; that of a directory ends in ``/``.
        kind: who gives the content: ``record``, ``path``, ``url``, ``text`` or ``directory``.
        reference: id of a file (32 hexadecimal digits), path below the storage, URL, or nothing.
        size: bytes of the content; None when not known.
        crc: CRC-32 of the content; None when not known.
        mtime: whole seconds since 1970, UTC.
        form: how the content stands in the archive.
        stored_size: bytes in the archive of a DEFLATED body.
        body: the content of ``text``.
        details: further JSON values, such as ``md5`` or the validators of a URL.
    """

    name: str
    kind: str
    reference: str = ""
    size: int | None
    crc: int | None
    mtime: int
    form: Form = Form.STORED
    stored_size: int | None = None
    body: bytes = b""
    details: Mapping[str, object] = field(default_factory=lambda: NO_DETAILS)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, which has no content."""
        return self.kind == "directory"
