"""All that differs between Firebird, PostgreSQL and SQLite; nothing else in the packages asks which it is.

Each engine is a :class:`Backend`. Record modules need only the column types, :func:`insert_ignore`,
:func:`in_chunks` and :func:`refresh_statistics`.
"""

from __future__ import annotations

from meteorpi_db.dialects.base import (
    ASCENDING_ONLY,
    DESCENDING_ONLY,
    Backend,
    ConnectionLostError,
    ConstraintError,
    DuplicateKeyError,
    TransactionConflictError,
    backend_of,
)
from meteorpi_db.dialects.choice import backend_for
from meteorpi_db.dialects.column_types import (
    Amount,
    AsciiText,
    ExactText,
    HexDigest,
    Identifier,
    LongText,
    RowId,
)
from meteorpi_db.dialects.statements import in_chunks, insert_ignore, refresh_statistics

__all__ = [
    "ASCENDING_ONLY",
    "DESCENDING_ONLY",
    "Amount",
    "AsciiText",
    "Backend",
    "ConnectionLostError",
    "ConstraintError",
    "DuplicateKeyError",
    "ExactText",
    "HexDigest",
    "Identifier",
    "LongText",
    "RowId",
    "TransactionConflictError",
    "backend_for",
    "backend_of",
    "in_chunks",
    "insert_ignore",
    "refresh_statistics",
]
