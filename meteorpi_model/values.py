"""Values that everything else is made of: equality, namespaced strings, identifiers and time.

Inside Python an instant is a naive :class:`datetime.datetime` holding UTC; on the wire and in tables it
is an integer number of milliseconds since 1970-01-01T00:00:00Z. This is the only module that converts
between the two, and :func:`now` the only place that asks for the time.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict, overload
from uuid import UUID

from meteorpi_model.errors import InvalidDocumentError

Clock = Callable[[], datetime]
"""Something that tells the time as :func:`now` does; tests pass one that they control."""

JsonObject = dict[str, object]
"""A JSON object as :mod:`json` gives it."""

_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_HASH_BLOCK_BYTES = 1 << 20
_HEX_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


class ModelEqualityMixin:
    """Equality by class and by every public attribute.

    Attributes whose name starts with an underscore say where an object came from, not what it is, and
    take no part. Objects that hold lists are unhashable.
    """

    def _identity(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self._identity().items(), key=lambda item: item[0])))


class NSString(ModelEqualityMixin):
    """A namespaced string, written ``ns:s``: the type of files and events, the key of metadata.

    Args:
        s: the string; not empty, may contain ``:``.
        ns: the namespace; not empty, without ``:``. ``meteorpi`` is reserved for the project.

    Raises:
        InvalidDocumentError: one of the rules above is broken (a ``ValueError``).
    """

    DEFAULT_NAMESPACE = "meteorpi"

    def __init__(self, s: str, ns: str = DEFAULT_NAMESPACE) -> None:
        if not isinstance(s, str) or not isinstance(ns, str):
            raise InvalidDocumentError("a namespaced string is made of two texts")
        if not s:
            raise InvalidDocumentError("the string part of a namespaced string must not be empty")
        if not ns:
            raise InvalidDocumentError("the namespace of a namespaced string must not be empty")
        if ":" in ns:
            raise InvalidDocumentError(f"the namespace {ns!r} must not contain ':'")
        self.s = s
        self.ns = ns

    def __str__(self) -> str:
        return f"{self.ns}:{self.s}"

    def __repr__(self) -> str:
        return f"NSString({self.s!r}, ns={self.ns!r})"

    @staticmethod
    @overload
    def from_string(text: None) -> None: ...

    @staticmethod
    @overload
    def from_string(text: str) -> NSString: ...

    @staticmethod
    def from_string(text: str | None) -> NSString | None:
        """Read the text form; without ``:`` the default namespace is used; None gives None."""
        if text is None:
            return None
        if not isinstance(text, str):
            raise InvalidDocumentError(f"a namespaced string is a text such as 'meteorpi:name', not {text!r}")
        namespace, colon, rest = text.partition(":")
        return NSString(rest, namespace) if colon else NSString(text)


class DayAndOffset(TypedDict):
    """A moment as the noon before it and the seconds since then."""

    previous_noon: datetime
    seconds: int


def now() -> datetime:
    """The current time as a naive datetime holding UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


@overload
def utc_datetime_to_milliseconds(dt: None) -> None: ...


@overload
def utc_datetime_to_milliseconds(dt: datetime) -> int: ...


def utc_datetime_to_milliseconds(dt: datetime | None) -> int | None:
    """Milliseconds since the epoch, microseconds cut off; None gives None.

    Naive datetimes hold UTC; aware ones are converted to UTC first.
    """
    if dt is None:
        return None
    if dt.tzinfo is not None:
        dt = dt.astimezone(UTC).replace(tzinfo=None)
    return (dt - _EPOCH) // _MILLISECOND


@overload
def milliseconds_to_utc_datetime(milliseconds: None) -> None: ...


@overload
def milliseconds_to_utc_datetime(milliseconds: int) -> datetime: ...


def milliseconds_to_utc_datetime(milliseconds: int | None) -> datetime | None:
    """The naive UTC datetime of `milliseconds` since the epoch; None gives None.

    Raises:
        InvalidDocumentError: the number is outside the years 1 to 9999.
    """
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except (OverflowError, TypeError) as error:
        raise InvalidDocumentError(f"{milliseconds!r} is not a time in milliseconds since 1970") from error


def truncate_to_milliseconds(dt: datetime) -> datetime:
    """`dt` as it comes back after being stored or sent: naive UTC, whole milliseconds."""
    return milliseconds_to_utc_datetime(utc_datetime_to_milliseconds(dt))


def get_day_and_offset(dt: datetime) -> DayAndOffset:
    """The latest midday UTC not after `dt`, and the whole seconds from there to `dt` (0 to 86399).

    One observing night, noon to noon, so never spans two days.
    """
    if dt.tzinfo is not None:
        dt = dt.astimezone(UTC).replace(tzinfo=None)
    noon = dt.replace(hour=12, minute=0, second=0, microsecond=0)
    if noon > dt:
        noon -= timedelta(days=1)
    return {"previous_noon": noon, "seconds": (dt - noon) // timedelta(seconds=1)}


def get_md5_hash(path: str | os.PathLike[str]) -> str:
    """Hexadecimal MD5 of the file at `path`, read in blocks."""
    digest = hashlib.md5(usedforsecurity=False)
    with Path(path).open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def parse_hex_id(text: object, name: str = "id") -> UUID:
    """Read a UUID written as 32 hexadecimal digits; upper case and hyphens are accepted too.

    Raises:
        InvalidDocumentError: anything else.
    """
    if isinstance(text, UUID):
        return text
    if isinstance(text, str) and _HEX_ID.fullmatch(text.replace("-", "")):
        return UUID(hex=text)
    raise InvalidDocumentError(f"{name} must be 32 hexadecimal digits, not {text!r}")
