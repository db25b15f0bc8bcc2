"""A store from the text that says where it is.

==========================================  ====================================================
a plain path, or ``file:///path?options``   local directory: ``layout=flat|tree``,
                                            ``durability=full|data|none``, ``mode=0640``,
                                            ``dir_mode=0750``, ``min_free=`` bytes
``memory:?limit=``                          memory of this process, limited to that many bytes
``s3://bucket/prefix?options``              objects of an S3-compatible service, with the extra
                                            ``meteorpi[s3]``; for the options see
                                            :class:`~meteorpi_db.filestore.s3.options.S3Options`
==========================================  ====================================================

Each URL takes ``fallback=`` with the (percent-encoded) location of a second store, where contents are read
that the first does not hold.

Source: B.2, S-111 and S-112 of the storage contract.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from meteorpi_db.filestore.base import FileStore
from meteorpi_db.filestore.disk import Disk, Durability
from meteorpi_db.filestore.fallback import FallbackFileStore
from meteorpi_db.filestore.layout import LayoutName
from meteorpi_db.filestore.local import LocalFileStore
from meteorpi_db.filestore.memory import MemoryFileStore
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_SHOWN_OPTIONS = frozenset(
    {"layout", "durability", "mode", "dir_mode", "min_free", "limit", "endpoint", "region", "addressing"}
    | {"storage_class", "encryption", "ca", "credentials", "profile", "connect_timeout", "read_timeout"}
    | {"attempts", "pool", "part_size", "parallel", "conditional", "checksums", "client"}
)


def open_file_store(location: str | os.PathLike[str]) -> FileStore:
    """The store at `location`; nothing is read or created yet, see :meth:`FileStore.prepare`.

    Raises:
        InvalidDocumentError: the location cannot be read (a ``ValueError``); it is shown without secrets.
        ConfigurationError: this release has no such store.
    """
    text = os.fspath(location)
    scheme = _SCHEME.match(text)
    if isinstance(location, os.PathLike) or scheme is None:
        return _open_path(text)
    opener = _OPENERS.get(scheme[1].lower())
    if opener is None:
        raise InvalidDocumentError(f"no file store is known as {scheme[1]}: in {shown_location(text)}")
    options = _Options(text)
    store = opener(text, options)
    fallback = options.take("fallback")
    options.refuse_rest()
    return FallbackFileStore(store, open_file_store(fallback)) if fallback else store


def shown_location(location: str) -> str:
    """`location` fit for a log: without user, password and every option that is not known to be harmless."""
    try:
        parts = urlsplit(location)
        shown = [pair for pair in parse_qsl(parts.query) if pair[0] in _SHOWN_OPTIONS]
    except ValueError:
        return "a location that is no URL"
    host = parts.netloc.rpartition("@")[2]
    query = urlencode([(name, quote(shown_location(value), safe=":/")) for name, value in shown], safe=":/%")
    return parts._replace(netloc=host, query=query, fragment="").geturl()


class _Options:
    """The options of a URL, each taken once."""

    def __init__(self, location: str) -> None:
        self._location = shown_location(location)
        pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True)
        self._values = dict(pairs)
        if len(pairs) != len(self._values):
            raise InvalidDocumentError(f"an option is given twice in {self._location}")

    def take(self, name: str, default: str = "") -> str:
        """The text of an option."""
        return self._values.pop(name, default)

    def take_number(self, name: str, default: int, base: int = 10) -> int:
        """The number of an option that is not negative."""
        text = self._values.pop(name, None)
        if text is None:
            return default
        try:
            number = int(text, base)
        except ValueError as error:
            raise InvalidDocumentError(f"{name} is not a number in {self._location}") from error
        if number < 0:
            raise InvalidDocumentError(f"{name} is negative in {self._location}")
        return number

    def refuse_rest(self) -> None:
        """Raise when an option was not taken, naming it but not its value."""
        if self._values:
            names = ", ".join(sorted(self._values))
            raise InvalidDocumentError(f"unknown options ({names}) in {self._location}")


def _open_path(text: str) -> FileStore:
    if not text or "\0" in text:
        raise InvalidDocumentError("the path of a file store must not be empty or contain NUL")
    return LocalFileStore(text)


def _open_local(location: str, options: _Options) -> FileStore:
    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidDocumentError(f"{shown_location(location)} should be file:///absolute/path")
    disk = Disk(
        durability=cast(Durability, options.take("durability", "full")),
        file_mode=options.take_number("mode", 0o640, base=8),
        directory_mode=options.take_number("dir_mode", 0o750, base=8),
        min_free_bytes=options.take_number("min_free", 0),
    )
    layout = cast(LayoutName, options.take("layout", "flat"))
    return LocalFileStore(Path(unquote(parts.path)), layout=layout, disk=disk)


def _open_memory(location: str, options: _Options) -> FileStore:
    parts = urlsplit(location)
    if parts.netloc or parts.path:
        raise InvalidDocumentError(f"{shown_location(location)} should be memory: without a name")
    limit = options.take_number("limit", -1)
    return MemoryFileStore(None if limit < 0 else limit)


def _open_s3(location: str, options: _Options) -> FileStore:
    try:
        from meteorpi_db.filestore.s3 import S3FileStore, S3Options
    except ImportError as error:
        raise ConfigurationError("a file store on S3 needs: pip install 'meteorpi[s3]'") from error
    parts = urlsplit(location)
    chosen: dict[str, Any] = {
        "bucket": parts.hostname or "",
        "prefix": unquote(parts.path).strip("/"),
        "access_key": unquote(parts.username) if parts.username else None,
        "secret_key": unquote(parts.password) if parts.password else None,
    }
    for each in fields(S3Options):
        if each.name in chosen:
            continue
        if isinstance(each.default, int):
            chosen[each.name] = options.take_number(each.name, each.default)
        else:
            chosen[each.name] = options.take(each.name) or each.default
    return S3FileStore(S3Options(**chosen))


_OPENERS: dict[str, Callable[[str, _Options], FileStore]] = {
    "file": _open_local,
    "memory": _open_memory,
    "s3": _open_s3,
}
