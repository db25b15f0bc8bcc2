"""The shape of the tables as a document, so that a backup can be loaded when the software has moved on.

A backup of an older schema is loaded into tables of its own shape, which are made from this document, and
then carried forward by the same steps that carry a database forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from meteorpi_db.dialects import Amount, AsciiText, ExactText, HexDigest, Identifier, LongText, RowId
from meteorpi_db.tables import EXCEPT_ON, unique_except_on

Document = dict[str, Any]
"""What JSON calls an object."""

_SINGLE_TYPES: Mapping[str, TypeEngine[Any]] = {
    "row-id": RowId,
    "amount": Amount,
    "id": Identifier(),
    "document": LongText(),
    "flag": Boolean(create_constraint=False),
    "small": SmallInteger(),
    "big": BigInteger(),
    "integer": Integer(),
}
_TEXT_TYPES: Mapping[str, type[ExactText]] = {"digest": HexDigest, "ascii": AsciiText, "text": ExactText}


def describe_table(table: Table) -> Document:
    """The shape of `table`."""
    key = table.primary_key
    uniques = [found for found in table.constraints if isinstance(found, UniqueConstraint)]
    return {
        "columns": [_describe_column(column) for column in table.c],
        "key": {"name": _name(key), "columns": [column.name for column in key.columns]},
        "unique": sorted((_describe_unique(found) for found in uniques), key=lambda found: found["columns"]),
        "indexes": sorted((_describe_index(found) for found in table.indexes), key=lambda f: f["name"]),
        "checks": sorted(_describe_checks(table), key=lambda f: f["name"]),
    }


def metadata_from(documents: Mapping[str, Document]) -> MetaData:
    """Tables of the described shapes, by name.

    Raises:
        KeyError, TypeError, ValueError: a document is none of :func:`describe_table`.
    """
    metadata = MetaData()
    for name, document in documents.items():
        Table(
            name,
            metadata,
            *(_column_from(found) for found in document["columns"]),
            _key_from(document["key"]),
            *(_unique_from(found) for found in document["unique"]),
            *(_index_from(found) for found in document["indexes"]),
            # Backups of the first two versions of the schema do not say, and need none.
            *(CheckConstraint(found["text"], name=found["name"]) for found in document.get("checks", ())),
        )
    return metadata


def _name(item: PrimaryKeyConstraint | UniqueConstraint) -> str | None:
    return None if item.name is None else str(item.name)


def _describe_column(column: Column[Any]) -> Document:
    document: Document = {"name": column.name, **_describe_type(column.type), "nullable": column.nullable}
    if column.autoincrement is True:
        document["counts"] = True
    for key in column.foreign_keys:
        document["refers_to"] = key.target_fullname
        document["on_delete"] = key.ondelete
    default = getattr(column.server_default, "arg", None)
    if default is not None:
        document["default"] = str(default)
    return document


def _describe_type(kind: TypeEngine[Any]) -> Document:
    for name, text_type in _TEXT_TYPES.items():
        if isinstance(kind, text_type):
            return {"type": name, "length": kind.length}
    for name, single in _SINGLE_TYPES.items():
        if kind is single or (single not in (RowId, Amount) and isinstance(kind, type(single))):
            return {"type": name}
    raise TypeError(f"a backup does not know columns of the type {kind!r}")


def _describe_unique(constraint: UniqueConstraint) -> Document:
    columns = [column.name for column in constraint.columns]
    return {"name": _name(constraint), "columns": columns, "except_on": constraint.info.get(EXCEPT_ON)}


def _describe_checks(table: Table) -> Iterator[Document]:
    for found in table.constraints:
        if isinstance(found, CheckConstraint):
            yield {"name": str(found.name), "text": str(found.sqltext)}


def _describe_index(index: Index) -> Document:
    condition = index.dialect_options["sqlite"]["where"]
    return {
        "name": index.name,
        "columns": [column.name for column in index.columns],
        "unique": bool(index.unique),
        "info": {name: list(value) for name, value in index.info.items()},
        "where": None if condition is None else str(condition),
    }


def _column_from(document: Document) -> Column[Any]:
    keys: Iterable[ForeignKey] = ()
    if "refers_to" in document:
        keys = [ForeignKey(document["refers_to"], ondelete=document["on_delete"])]
    default = document.get("default")
    return Column(
        document["name"],
        _type_from(document),
        *keys,
        nullable=document["nullable"],
        autoincrement=document.get("counts", False),
        server_default=None if default is None else text(default),
    )


def _type_from(document: Document) -> TypeEngine[Any]:
    if document["type"] in _TEXT_TYPES:
        return _TEXT_TYPES[document["type"]](document["length"])
    return _SINGLE_TYPES[document["type"]]


def _key_from(document: Document) -> PrimaryKeyConstraint:
    return PrimaryKeyConstraint(*document["columns"], name=document["name"])


def _unique_from(document: Document) -> UniqueConstraint:
    if document["except_on"]:
        return unique_except_on(document["except_on"], *document["columns"], name=document["name"])
    return UniqueConstraint(*document["columns"], name=document["name"])


def _index_from(document: Document) -> Index:
    condition = None if document["where"] is None else text(document["where"])
    return Index(
        document["name"],
        *document["columns"],
        unique=document["unique"],
        info={name: tuple(value) for name, value in document["info"].items()},
        sqlite_where=condition,
        postgresql_where=condition,
    )
