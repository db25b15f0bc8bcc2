"""What may be stored: checked before a statement is sent, so that every engine refuses the same things alike.

Each function returns the value in the form in which it is kept, or raises `InvalidDocumentError`
(a ``ValueError``) that names the member.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from uuid import UUID

from meteorpi_db import tables
from meteorpi_model import NSString, utc_datetime_to_milliseconds
from meteorpi_model.errors import InvalidDocumentError

EXACT_INTEGER_LIMIT = 2**53
"""Integers beyond this size do not survive in the 64 bit floats that databases and JSON readers keep."""

_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


def checked_text(value: object, name: str, longest: int, *, may_be_empty: bool = False) -> str:
    """`value` if it is a text of at most `longest` characters that every engine can keep."""
    if not isinstance(value, str):
        raise InvalidDocumentError(f"{name} must be a text, not {value!r}", pointer=f"/{name}")
    if not value and not may_be_empty:
        raise InvalidDocumentError(f"{name} must not be empty", pointer=f"/{name}")
    if len(value) > longest:
        raise InvalidDocumentError(
            f"{name} has {len(value)} characters; {longest} are allowed", pointer=f"/{name}"
        )
    if "\x00" in value:
        raise InvalidDocumentError(f"{name} must not contain the character NUL", pointer=f"/{name}")
    _check_encodable(value, name)
    return value


def _check_encodable(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(f"{name} has half a surrogate pair", pointer=f"/{name}") from error


def fitting_text(value: str, longest: int) -> str:
    """`value` in a form that can be kept, for what must be noted whatever somebody sent."""
    return value.replace("\x00", "\ufffd").encode(errors="replace").decode()[:longest]


def checked_optional_text(value: object, name: str, longest: int) -> str | None:
    """`checked_text`, or None for None."""
    return None if value is None else checked_text(value, name, longest, may_be_empty=True)


def checked_camera_id(value: object) -> str:
    """A camera id: 1 to 64 characters, kept exactly as given."""
    return checked_text(value, "camera_id", tables.CAMERA_ID_LENGTH)


def checked_type(value: object, name: str) -> str:
    """The text form of a namespaced string that says what something is."""
    if not isinstance(value, NSString):
        raise InvalidDocumentError(f"{name} must be an NSString, not {value!r}", pointer=f"/{name}")
    return checked_text(str(value), name, tables.TYPE_LENGTH)


def checked_number(value: object, name: str) -> int | float:
    """A finite number that comes back from the database as it went in."""
    if not isinstance(value, int | float):
        raise InvalidDocumentError(f"{name} must be a number, not {value!r}", pointer=f"/{name}")
    if isinstance(value, int) and abs(value) > EXACT_INTEGER_LIMIT:
        raise InvalidDocumentError(
            f"{name}: whole numbers are kept up to 2**53, {value} is beyond", pointer=f"/{name}"
        )
    if not math.isfinite(value):
        raise InvalidDocumentError(f"{name} must be finite, not {value}", pointer=f"/{name}")
    return value


def checked_time(value: object, name: str) -> int:
    """A datetime as milliseconds since the epoch."""
    if not isinstance(value, datetime):
        raise InvalidDocumentError(f"{name} must be a datetime, not {value!r}", pointer=f"/{name}")
    return utc_datetime_to_milliseconds(value)


def checked_id(value: object, name: str) -> UUID:
    """A UUID."""
    if not isinstance(value, UUID):
        raise InvalidDocumentError(f"{name} must be a UUID, not {value!r}", pointer=f"/{name}")
    return value


def checked_md5(value: object) -> str:
    """A hexadecimal MD5 in lower case."""
    if not isinstance(value, str) or not _MD5.fullmatch(value):
        raise InvalidDocumentError(f"md5 must be 32 hexadecimal digits, not {value!r}", pointer="/md5")
    return value.lower()
