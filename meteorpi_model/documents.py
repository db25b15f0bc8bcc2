"""Reading members of JSON documents, with one kind of error and a pointer to the culprit.

Only :mod:`meteorpi_model` uses these; they keep ``from_dict`` methods short and make sure that malformed
input surfaces as :class:`InvalidDocumentError` and never as ``KeyError`` or ``TypeError``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject, NSString, milliseconds_to_utc_datetime, parse_hex_id

T = TypeVar("T")
_MISSING = object()


def drop_missing(document: JsonObject) -> JsonObject:
    """`document` without the members that are None."""
    return {key: value for key, value in document.items() if value is not None}


def require_object(document: object, what: str) -> Mapping[str, object]:
    """`document` if it is a JSON object; `what` names it in the error."""
    if not isinstance(document, Mapping):
        raise InvalidDocumentError(f"{what} must be a JSON object, not {type(document).__name__}")
    return document


def read(document: Mapping[str, object], key: str, convert: Callable[[object], T]) -> T:
    """Member `key`, which must be there and not null, through `convert`."""
    value = document.get(key, _MISSING)
    if value is _MISSING or value is None:
        raise InvalidDocumentError(f"{key!r} is missing", pointer=f"/{key}")
    return _converted(value, key, convert)


def read_optional(
    document: Mapping[str, object], key: str, convert: Callable[[object], T], default: T | None = None
) -> T | None:
    """Member `key` through `convert`, or `default` when it is absent or null."""
    value = document.get(key)
    return default if value is None else _converted(value, key, convert)


def _converted(value: object, key: str, convert: Callable[[object], T]) -> T:
    try:
        return convert(value)
    except InvalidDocumentError as error:
        raise error.below(f"/{key}") from error


def as_text(value: object) -> str:
    """Text as it is."""
    if not isinstance(value, str):
        raise InvalidDocumentError(f"expected a text, not {value!r}")
    return value


def as_number(value: object) -> int | float:
    """A finite number; true and false count as 1 and 0."""
    if not isinstance(value, int | float):
        raise InvalidDocumentError(f"expected a number, not {value!r}")
    if not _is_finite(value):
        raise InvalidDocumentError("expected a finite number that a double can hold")
    return value


def _is_finite(number: int | float) -> bool:
    """Whether a floating point number could stand for `number`, which JSON lets have hundreds of digits."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def as_integer(value: object) -> int:
    """A whole number; 3.0 counts as one, 3.5 and true do not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidDocumentError(f"expected a whole number, not {value!r}")
    return value


def as_count(value: object) -> int:
    """A whole number that is not negative."""
    number = as_integer(value)
    if number < 0:
        raise InvalidDocumentError(f"expected 0 or more, not {number}")
    return number


def as_flag(value: object) -> bool:
    """True only for a JSON true or 1."""
    return value is True or (isinstance(value, int | float) and value == 1)


def as_time(value: object) -> datetime:
    """A time given in milliseconds since the epoch."""
    return milliseconds_to_utc_datetime(as_integer(value))


def as_id(value: object) -> UUID:
    """A hex id."""
    return parse_hex_id(value)


def as_ns_string(value: object) -> NSString:
    """A namespaced string in its text form."""
    return NSString.from_string(as_text(value))


def as_list(convert: Callable[[object], T]) -> Callable[[object], list[T]]:
    """A reader of lists whose items go through `convert`."""

    def read_list(value: object) -> list[T]:
        if not isinstance(value, list | tuple):
            raise InvalidDocumentError(f"expected a list, not {type(value).__name__}")
        return [_converted(item, str(position), convert) for position, item in enumerate(value)]

    return read_list
