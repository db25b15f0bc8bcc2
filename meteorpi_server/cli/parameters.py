"""Kinds of arguments that several commands take: times, ids, metadata, regions, sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from meteorpi_model import MetaConstraint, NSString, now
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.records import MetaValue
from meteorpi_model.values import parse_hex_id

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG]?)")
_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_AGO_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_CONSTRAINT = re.compile(r"(?P<key>[^<>=]+?)(?P<sign><=|>=|=)(?P<value>.*)", re.DOTALL)


def read_time(text: str) -> datetime:
    """An instant from `text`, as naive UTC.

    ISO 8601 (UTC unless it names an offset), Unix seconds, ``0`` or ``now``, or ``24h`` for so long ago
    (units s, m, h, d, w).

    Raises:
        ValueError: it is none of these.
    """
    if text in ("now", "0"):
        return now()
    if ago := _AGO.fullmatch(text):
        return now() - timedelta(seconds=float(ago[1]) * _AGO_SECONDS[ago[2]])
    try:
        if _NUMBER.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC).replace(tzinfo=None)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(
            f"{text!r} is not a time such as 2015-04-01T21:30, 1427923800, now or 24h"
        ) from error
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def read_value(text: str) -> MetaValue:
    """A metadata value: a number where `text` is one, else the text itself."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def read_constraint(text: str) -> MetaConstraint:
    """A condition on metadata: ``key=value``, ``key<=number`` or ``key>=number``.

    Raises:
        ValueError: it is none of these.
    """
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a condition such as skyClarity>=60 or name=value")
    key, value = NSString.from_string(found["key"].strip()), read_value(found["value"].strip())
    if isinstance(value, str):
        if found["sign"] != "=":
            raise ValueError(f"{found['sign']} needs a number, not {value!r}")
        return MetaConstraint("string_equals", key, value)
    kinds = {"=": "number_equals", "<=": "less", ">=": "greater"}
    return MetaConstraint(kinds[found["sign"]], key, value)


def read_region(text: str) -> list[float]:
    """The corners of a polygon, ``x,y x,y x,y``, as x0, y0, x1, y1, ...

    Raises:
        ValueError: not three or more pairs of numbers.
    """
    pairs = [corner.split(",") for corner in text.split()]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{text!r} is not three or more corners such as 0,0 720,0 720,576")
    return [float(number) for pair in pairs for number in pair]


def read_size(text: str) -> int:
    """A number of bytes: ``500000``, or ``500k``, ``2.5M``, ``1G`` in units of 1000.

    Raises:
        ValueError: it is none, or less than one byte.
    """
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _SIZE_UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise ValueError(f"{text!r} is not a number of bytes such as 500000, 500k or 2.5M")
    return size


@dataclass(frozen=True)
class Unset:
    """A limit that is taken back, so that the default counts again."""


def read_quota(text: str) -> int | Unset:
    """A limit in bytes as `read_size` reads it, also 0, or ``default`` for none of its own.

    Raises:
        ValueError: it is none of these.
    """
    if text == "default":
        return Unset()
    return 0 if text == "0" else read_size(text)


def read_number(text: str) -> int | Unset:
    """A limit that is a number of things, or ``default`` for none of its own.

    Raises:
        ValueError: it is none of these.
    """
    if text == "default":
        return Unset()
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise ValueError(f"{text!r} is not a whole number of 0 or more, or default")
    return int(text)


class _Parameter(click.ParamType[Any]):
    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Read `value`, or fail as a wrong argument does."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            detail = error.detail if isinstance(error, InvalidDocumentError) else str(error)
            self.fail(detail, param, ctx)


TIME = _Parameter("time", read_time)
ID = _Parameter("id", parse_hex_id)
TYPE = _Parameter("type", NSString.from_string)
CONSTRAINT = _Parameter("condition", read_constraint)
REGION = _Parameter("corners", read_region)
SIZE = _Parameter("size", read_size)
QUOTA = _Parameter("limit", read_quota)
NUMBER = _Parameter("number", read_number)
