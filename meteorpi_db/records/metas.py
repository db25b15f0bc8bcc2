"""Metadata rows of files and events: one row an item, written once with their owner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, insert

from meteorpi_db import limits, tables
from meteorpi_model import Meta, NSString, milliseconds_to_utc_datetime, utc_datetime_to_milliseconds
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.records import MetaValue
from meteorpi_model.values import truncate_to_milliseconds

MetaRow = dict[str, object]
"""The columns of one item but for its owner."""

_NO_VALUE: Mapping[str, object] = {
    "string_head": None,
    "string_value": None,
    "number_value": None,
    "is_integer": False,
    "date_value": None,
}


def meta_rows(items: Iterable[Meta], entity_time: int) -> list[MetaRow]:
    """Check `items` and give their rows; raises `InvalidDocumentError` for what cannot be stored."""
    rows: list[MetaRow] = []
    seen: set[str] = set()
    for position, item in enumerate(items):
        if not isinstance(item, Meta):
            raise InvalidDocumentError(f"metadata must be Meta objects, not {item!r}", pointer="/meta")
        key = limits.checked_type(item.key, "metadata key")
        values = {**_NO_VALUE, **_value_columns(item, key)}
        rows.append(
            {
                "position": position,
                "meta_key": key,
                "entity_time": entity_time,
                "is_repeat": key in seen,
                **values,
            }
        )
        seen.add(key)
    return rows


def _value_columns(item: Meta, key: str) -> MetaRow:
    name = f"metadata {key}"
    if (text := item.string_value()) is not None:
        limits.checked_text(text, name, tables.TEXT_LENGTH, may_be_empty=True)
        return {"string_head": text[: tables.STRING_HEAD_LENGTH], "string_value": text}
    if (number := item.float_value()) is not None:
        limits.checked_number(number, name)
        return {"number_value": float(number), "is_integer": isinstance(number, int)}
    if (date := item.date_value()) is not None:
        return {"date_value": utc_datetime_to_milliseconds(date)}
    raise InvalidDocumentError(f"{name} has a value of unknown type: {item.value!r}", pointer="/meta")


def stored_form(items: Iterable[Meta]) -> list[Meta]:
    """`items` as they will be read back: dates in whole milliseconds, flags as numbers."""
    return [Meta(item.key, _stored_value(item.value)) for item in items]


def _stored_value(value: MetaValue) -> MetaValue:
    if isinstance(value, datetime):
        return truncate_to_milliseconds(value)
    return int(value) if isinstance(value, bool) else value


def insert_metas(
    connection: Connection, table: Table, rows_of_owner: Mapping[int, Sequence[MetaRow]]
) -> None:
    """Write the rows of several owners in one round trip."""
    rows = [{**row, "owner_pk": owner} for owner, rows in rows_of_owner.items() for row in rows]
    if rows:
        connection.execute(insert(table), rows)


def metas_by_owner(rows: Iterable[Row[Any]]) -> dict[int, list[Meta]]:
    """Group rows of `table.select()` by owner, each group in stored order.

    Sorted here: Firebird sorts records of several kilobytes in temporary files.
    """
    groups: defaultdict[int, dict[int, Meta]] = defaultdict(dict)
    for row in rows:  # a join may give a row twice
        groups[row.owner_pk][row.position] = _meta_from(row)
    return {owner: [items[position] for position in sorted(items)] for owner, items in groups.items()}


def _meta_from(row: Row[Any]) -> Meta:
    key = NSString.from_string(row.meta_key)
    if row.string_value is not None:
        return Meta(key, row.string_value)
    if row.date_value is not None:
        return Meta(key, milliseconds_to_utc_datetime(row.date_value))
    return Meta(key, int(row.number_value) if row.is_integer else row.number_value)
