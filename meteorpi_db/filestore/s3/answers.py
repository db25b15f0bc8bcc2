"""What a service says about objects and uploads, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """What the service tells of an object without giving it.

    Attributes:
        size: bytes.
        modified: when it was written by the clock of the service, naive UTC.
        tag: of the service; tells two states of an object apart and nothing else (S-133).
        metadata: texts kept with it, by names in lower case.
    """

    size: int
    modified: datetime
    tag: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """An object of a listing: key, bytes, and when it was written, naive UTC."""

    key: str
    size: int
    modified: datetime


class Body(Protocol):
    """As much of a binary stream as reading an object needs."""

    def read(self, most: int, /) -> bytes:
        """The next 1 to `most` bytes, none at the end."""

    def close(self) -> None:
        """Give the connection up."""


@dataclass(frozen=True, kw_only=True)
class ObjectBody:
    """The bytes of an object on their way.

    Attributes:
        body: from `start` on; to be closed.
        start: the first of them in the object.
        size: of the whole object.
        tag: see :class:`ObjectFacts`.
    """

    body: Body
    start: int
    size: int
    tag: str


@dataclass(frozen=True, kw_only=True)
class OpenUpload:
    """An upload in parts that was begun: its key, the name the service gave it, and when, naive UTC."""

    key: str
    upload_id: str
    begun: datetime
