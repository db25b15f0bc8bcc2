"""What a ticket is asked for: its items, read and checked one by one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeAlias
from uuid import UUID

from meteorpi_model import FileRecordSearch
from meteorpi_model.documents import as_text, read, read_optional, require_object
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.nights import parse_day
from meteorpi_model.values import JsonObject, parse_hex_id
from meteorpi_server import parsing
from meteorpi_server.archive_api.refusals import RefusedRequestError


@dataclass(frozen=True)
class RecordItem:
    """One file record."""

    file_id: UUID


@dataclass(frozen=True)
class SearchItem:
    """The file records that a search finds."""

    search: FileRecordSearch


@dataclass(frozen=True)
class EventItem:
    """The files of an event."""

    event_id: UUID


@dataclass(frozen=True)
class NightItem:
    """All that a camera recorded in one night."""

    camera_id: str
    day: date


@dataclass(frozen=True)
class DirectoryItem:
    """A directory of the storage, by its unguessable name."""

    name: str


@dataclass(frozen=True)
class UrlItem:
    """Something at another address.

    Attributes:
        url: the address, as it was given.
        name: what to call the entry; None takes it from the address.
        path: directories above the entry.
        headers: to send along.
    """

    url: str
    name: str | None = None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Item: TypeAlias = RecordItem | SearchItem | EventItem | NightItem | DirectoryItem | UrlItem

SELECTORS: Final[dict[type, str]] = {
    RecordItem: "record",
    SearchItem: "record",
    EventItem: "record",
    NightItem: "record",
    DirectoryItem: "dir",
    UrlItem: "url",
}
"""The right that each kind of item needs."""

DIRECTORY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_CAMERA_CHARACTERS: Final = 64


def read_items(value: object, most: int) -> list[Item]:
    """The items of a request.

    Args:
        value: a list, or the text of one in base64, as FPX clients send it.
        most: largest number of them.

    Raises:
        RefusedRequestError: it is neither, there are too many, or some of them cannot be read; all of those
            are named.
    """
    items = _decoded(value, "items")
    if not isinstance(items, list):
        raise RefusedRequestError({"items": [f"expected a list, not {type(items).__name__}"]})
    if len(items) > most:
        raise RefusedRequestError({"items": [f"{len(items)} items are more than the {most} allowed"]})
    found: list[Item] = []
    errors: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        try:
            found.append(read_item(item))
        except InvalidDocumentError as error:
            errors[str(index)] = [error.detail]
    if errors:
        raise RefusedRequestError({"items": errors})
    return found


def read_object(value: object, member: str) -> JsonObject:
    """A JSON object, or the text of one in base64.

    Raises:
        RefusedRequestError: it is neither.
    """
    decoded = _decoded(value, member)
    if not isinstance(decoded, dict):
        raise RefusedRequestError({member: [f"expected an object, not {type(decoded).__name__}"]})
    return decoded


def read_item(value: object) -> Item:
    """One item.

    Raises:
        InvalidDocumentError: it is of no known kind, or cannot be read.
    """
    if isinstance(value, str):
        return UrlItem(value)
    document = require_object(value, "an item")
    kinds = [kind for kind in _READERS if kind in document]
    if len(kinds) != 1:
        raise InvalidDocumentError(f"an item is a URL, or an object with one of {', '.join(_READERS)}")
    reader, members = _READERS[kinds[0]]
    unknown = document.keys() - members
    if unknown:
        raise InvalidDocumentError(f"an item with {kinds[0]} has no member {min(unknown)!r}")
    return reader(document)


def _decoded(value: object, member: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        # Line breaks are what some encoders put in; anything else that is not base64 is a mistake.
        text = base64.b64decode("".join(value.split()), validate=True)
        return parsing.load_json(text)
    except (binascii.Error, InvalidDocumentError, ValueError) as error:
        raise RefusedRequestError({member: ["a text has to be base64 of JSON"]}) from error


def _read_record(document: Mapping[str, object]) -> Item:
    return RecordItem(parse_hex_id(document["record"], "record"))


def _read_search(document: Mapping[str, object]) -> Item:
    return SearchItem(FileRecordSearch.from_dict(document["search"]))


def _read_event(document: Mapping[str, object]) -> Item:
    return EventItem(parse_hex_id(document["event"], "event"))


def _read_night(document: Mapping[str, object]) -> Item:
    night = require_object(document["night"], "night")
    if night.keys() - {"camera", "date"}:
        raise InvalidDocumentError("night has the members camera and date, and no others")
    return NightItem(checked_camera(read(night, "camera", as_text)), read(night, "date", parse_day))


def checked_camera(text: str) -> str:
    """A text that can be the id of a camera.

    Raises:
        InvalidDocumentError: it is empty, too long, or holds NUL.
    """
    if not 0 < len(text) <= _CAMERA_CHARACTERS:
        raise InvalidDocumentError(f"a camera id has 1 to {_CAMERA_CHARACTERS} characters")
    return parsing.plain_text(text, "camera id")


def _read_directory(document: Mapping[str, object]) -> Item:
    name = document["dir"]
    if not isinstance(name, str) or not DIRECTORY_NAME.fullmatch(name):
        raise InvalidDocumentError("dir must be the name of a directory: letters, digits, - and _")
    return DirectoryItem(name)


def _read_url(document: Mapping[str, object]) -> Item:
    name = read_optional(document, "name", as_text)
    path = read_optional(document, "path", as_text)
    headers = document.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        raise InvalidDocumentError("headers must be an object of texts")
    return UrlItem(read(document, "url", as_text), name or None, path or "", headers)


_READERS: Final[dict[str, tuple[Callable[[Mapping[str, object]], Item], frozenset[str]]]] = {
    "url": (_read_url, frozenset({"url", "name", "path", "headers"})),
    "record": (_read_record, frozenset({"record"})),
    "search": (_read_search, frozenset({"search"})),
    "event": (_read_event, frozenset({"event"})),
    "night": (_read_night, frozenset({"night"})),
    "dir": (_read_directory, frozenset({"dir"})),
}
