"""Column types: what a column means, and how each engine keeps it.

Three promises hold on every engine and are what these types are for:

* text is compared exactly: case counts, trailing blanks count, and order is by code point;
* numbers come back as they went in, all 64 bits of them;
* text that an engine could not keep (too long, with a NUL) is refused with the same clear error everywhere.
"""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, Double, Integer, String, Text, Uuid
from sqlalchemy.types import CHAR, LargeBinary, TypeDecorator, TypeEngine

from meteorpi_model.errors import InvalidDocumentError

UTF8_BYTES = 4
"""Most bytes that one character needs in UTF-8."""

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A local row number that grows with registration; SQLite numbers rows only in a column called INTEGER."""


def _octets(length: int, fixed: bool = False) -> TypeEngine[Any]:
    """A Firebird type of `length` bytes; imported late because the package is an extra."""
    from sqlalchemy_firebird.types import FBBINARY, FBVARBINARY

    found: TypeEngine[Any] = FBBINARY(length) if fixed else FBVARBINARY(length)
    return found


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise InvalidDocumentError("text must not contain the character NUL")
    return value


class ExactText(TypeDecorator[str]):
    """Text of at most `length` characters, compared exactly and ordered by code point.

    Firebird pads with blanks before it compares, under every UTF-8 collation it has. As OCTETS it pads with
    NUL, which no value contains, and the order of UTF-8 bytes is the order of code points. PostgreSQL
    orders by the collation of the database unless told otherwise; SQLite compares bytes by itself.

    Args:
        length: the limit in characters; longer values raise InvalidDocumentError when bound.
    """

    impl = String
    cache_ok = True
    bytes_per_character = UTF8_BYTES

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the engine in use."""
        if dialect.name == "firebird":
            return dialect.type_descriptor(_octets(self.length * self.bytes_per_character))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(self.length, collation="C"))
        return dialect.type_descriptor(String(self.length))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Check the limits that would otherwise fail deep in a driver, or not at all."""
        if value is None:
            return None
        if len(value) > self.length:
            raise InvalidDocumentError(f"text of {len(value)} characters where {self.length} are allowed")
        text = _without_nul(value)
        return text.encode() if dialect.name == "firebird" else text

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Give text; Firebird hands OCTETS over as bytes."""
        return value.decode() if isinstance(value, bytes) else value


class AsciiText(ExactText):
    """The same for text of ASCII characters, which Firebird can index to four times the length."""

    cache_ok = True
    bytes_per_character = 1

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Check the limits, the alphabet among them."""
        if value is not None and not value.isascii():
            raise InvalidDocumentError("text with other characters than those of ASCII")
        return super().process_bind_param(value, dialect)


class HexDigest(ExactText):
    """A digest as `length` lower case hexadecimal digits."""

    cache_ok = True


class LongText(TypeDecorator[str]):
    """Text without a limit worth naming: documents and explanations; never searched or ordered by."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Refuse what PostgreSQL could not keep, on every engine alike."""
        return None if value is None else _without_nul(value)


class Identifier(TypeDecorator[UUID]):
    """A UUID: PostgreSQL's own type, sixteen bytes elsewhere."""

    impl = CHAR
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the engine in use."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Uuid())
        if dialect.name == "firebird":
            return dialect.type_descriptor(_octets(16, fixed=True))
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Give the engine its form of the UUID."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Give a UUID whatever the engine keeps."""
        if value is None or isinstance(value, UUID):
            return value
        return UUID(bytes=bytes(value))


class _Amount(TypeDecorator[float]):
    """A finite number with the full precision of a Python float."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        if value is None:
            return None
        if not math.isfinite(value):  # SQLite would keep a NaN as NULL
            raise InvalidDocumentError("a number must be finite")
        return float(value)


Amount = _Amount()
"""A measured value, 64 bits wide."""
