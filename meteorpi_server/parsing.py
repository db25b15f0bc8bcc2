"""Reading requests: search documents in paths and query strings, JSON bodies, ids and times.

What cannot be read raises `InvalidDocumentError` with a JSON pointer to the culprit, never anything else;
limits are checked before memory is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from meteorpi_model import EventSearch, FileRecordSearch
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject, milliseconds_to_utc_datetime, parse_hex_id
from meteorpi_server.context import current_settings

Search = TypeVar("Search", FileRecordSearch, EventSearch)
Arguments: TypeAlias = MultiDict[str, str]

_MAX_NESTING: Final = 64
_FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def search_segment(search_class: type[Search], segment: str) -> Search:
    """Read a search document out of a path segment that the web server has decoded once.

    Clients encode the JSON twice; what was encoded once is accepted too. Plus means plus.

    Raises:
        InvalidDocumentError: it is not JSON, or no search of that class.
    """
    if segment.lstrip().startswith("{"):
        try:
            return search_class.from_dict(load_json(segment))
        except _NotJsonError:
            # A client that leaves braces unencoded can still have encoded the rest twice.
            pass
    return search_class.from_dict(load_json(unquote_strictly(segment)))


def segment_of_search(search: FileRecordSearch | EventSearch) -> str:
    """The path segment of `search`: its JSON, percent-encoded twice."""
    return quote(quote(json.dumps(search.as_dict(), separators=(",", ":")), safe=""), safe="")


def unquote_strictly(text: str) -> str:
    """`text` with its percent escapes decoded; plus stays plus.

    Raises:
        InvalidDocumentError: the escapes are not UTF-8.
    """
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError as error:
        raise InvalidDocumentError("percent escapes must be UTF-8") from error


class _NotJsonError(InvalidDocumentError):
    """The text is not JSON at all, as opposed to JSON of the wrong shape."""


def load_json(text: str | bytes) -> object:
    """Read JSON as RFC 8259 has it: UTF-8, no NaN, no infinities, nesting and integers within reason.

    Raises:
        InvalidDocumentError: anything else.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(decoded, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in decoded:
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # halves of surrogate pairs cannot be stored or sent
    except RecursionError as error:
        raise _NotJsonError("the JSON is nested too deeply") from error
    except ValueError as error:  # also wrong UTF-8, and integers of thousands of digits
        raise _NotJsonError(f"not valid JSON: {error}") from error
    _check_nesting(value)
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is out of range")
    return number


def _check_nesting(value: object) -> None:
    level: list[object] = [value]
    for _ in range(_MAX_NESTING):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise _NotJsonError(f"the JSON is nested more than {_MAX_NESTING} levels deep")


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def require_readable_query() -> None:
    """Refuse a query string with bytes that should have been percent-encoded, and are no text.

    Raises:
        InvalidDocumentError: they are not UTF-8. Some servers refuse them themselves, others do not.
    """
    try:
        request.query_string.decode()
    except UnicodeDecodeError as error:
        raise InvalidDocumentError("the query string must be UTF-8") from error


def json_body() -> Mapping[str, object]:
    """The JSON object in the body of the current request.

    Any content type will do, also none, except the three that an HTML form of another site can send.

    Raises:
        InvalidDocumentError: not a JSON object.
        RequestEntityTooLarge: longer than the setting `max_document_bytes`.
        UnsupportedMediaType: a form.
    """
    if request.mimetype in _FORM_TYPES:
        raise UnsupportedMediaType(f"the body must be application/json, not {request.mimetype}")
    value = load_json(body_bytes(current_settings().max_document_bytes))
    if not isinstance(value, dict):
        raise InvalidDocumentError(f"the body must be a JSON object, not {type(value).__name__}")
    return value


def body_bytes(limit: int) -> bytes:
    """All of the body of the current request, whatever its type.

    Raises:
        RequestEntityTooLarge: longer than `limit` bytes. One of unknown length would be cut off at a limit of
            the framework, and nothing said about it.
    """
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body


def hex_id(text: str, name: str = "id") -> UUID:
    """An id in a path."""
    return parse_hex_id(text, name)


def path_time(text: str) -> datetime:
    """A time in a path: integer milliseconds since the epoch."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
        raise InvalidDocumentError(f"the time must be whole milliseconds since 1970, not {text!r}")
    return milliseconds_to_utc_datetime(int(text))


def plain_text(text: str, name: str) -> str:
    """A text in a path or query string that may reach the database.

    Raises:
        InvalidDocumentError: it contains NUL, which no engine stores, or characters that are not Unicode.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidDocumentError(f"the {name} must be a text without NUL")
    return text


def names_in_path(text: str, name: str) -> list[str]:
    """What a name in a path can mean: as it is, and decoded once more where clients encoded it twice."""
    names = [plain_text(text, name)]
    if "%" in text:
        names.append(twice_encoded(text, name))
    return names


def twice_encoded(text: str, name: str) -> str:
    """A name that clients percent-encode twice, out of a path that the web server has decoded once."""
    return plain_text(unquote_strictly(text), name)


def query_search(search_class: type[Search], arguments: Arguments, fields: frozenset[str]) -> Search:
    """Read a search out of a plain query string, such as ``?camera_ids=a&camera_ids=b&limit=10``.

    Args:
        search_class: the class to give.
        arguments: the parameters; those whose name begins with ``_`` are passed over.
        fields: names of the members that a search of this class has.

    Raises:
        InvalidDocumentError: a parameter that is unknown, given twice, or cannot be read.
    """
    document: JsonObject = {}
    for name, texts in arguments.lists():
        if name.startswith("_"):
            continue
        if name not in fields:
            raise InvalidDocumentError(f"there is no parameter {name!r}", pointer=f"/{_escape(name)}")
        try:
            document[name] = _READERS.get(name, _one(str))(texts)
        except InvalidDocumentError as error:
            raise error.below(f"/{name}") from error
    return search_class.from_dict(document)


def query_of_search(search: FileRecordSearch | EventSearch) -> list[tuple[str, str]]:
    """The query string parameters that :func:`query_search` reads `search` from."""
    parameters: list[tuple[str, str]] = []
    for name, value in search.as_dict().items():
        items = value if isinstance(value, list) else [value]
        if name == "meta":
            parameters += [(name, json.dumps(item, separators=(",", ":"))) for item in items]
        else:
            parameters += [(name, "true" if item is True else str(item)) for item in items]
    return parameters


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _one(read: Callable[[str], object]) -> Callable[[list[str]], object]:
    def read_one(texts: list[str]) -> object:
        if len(texts) > 1:
            raise InvalidDocumentError("this parameter can be given once only")
        return read(texts[0])

    return read_one


def _number(text: str) -> int | float:
    try:
        return _finite(text) if any(mark in text for mark in ".eE") else int(text)
    except ValueError as error:
        raise InvalidDocumentError(f"{text[:40]!r} is not a number") from error


def _time(text: str) -> int | float:
    """Milliseconds since the epoch, or an ISO 8601 time, which is UTC unless it says otherwise."""
    if text.removeprefix("-").isdigit():
        return _number(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidDocumentError(
            f"{text[:40]!r} is neither milliseconds since 1970 nor a time such as 2015-04-01T00:21:03Z"
        ) from error
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(aware.timestamp() * 1000)


def _flag(text: str) -> bool:
    if text.lower() in {"true", "1"}:
        return True
    if text.lower() in {"false", "0", ""}:
        return False
    raise InvalidDocumentError(f"{text[:40]!r} is neither true nor false")


def _meta(texts: list[str]) -> list[object]:
    items: list[object] = []
    for text in texts:
        value = load_json(text)
        items += value if isinstance(value, list) else [value]
    return items


_READERS: Final[dict[str, Callable[[list[str]], object]]] = {
    "camera_ids": list,
    "meta": _meta,
    **dict.fromkeys(("after", "before"), _one(_time)),
    **dict.fromkeys(
        ("lat_min", "lat_max", "long_min", "long_max", "after_offset", "before_offset", "limit", "skip"),
        _one(_number),
    ),
    **dict.fromkeys(("exclude_events", "exclude_imported"), _one(_flag)),
}
