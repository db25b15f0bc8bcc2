"""Telling an engine which index not to use.

Firebird reads every index that fits a condition before it starts a walk in order, so a walk over
``(camera, time)`` that also asks for a common type would first read the whole index of that type. SQLite
without statistics may lead with the type. PostgreSQL knows better than we do and is left alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Unindexed(FunctionElement[Any]):
    """A column in a form that no index serves; value and type stay the same."""

    inherit_cache = True
    name = "unindexed"

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """`column` for a condition that should filter rows and never choose the index."""
    return _Unindexed(column)


@compiles(_Unindexed)
def _plain(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return _column_text(element, compiler, options)


@compiles(_Unindexed, "sqlite")
def _with_unary_plus(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{_column_text(element, compiler, options)}"


@compiles(_Unindexed, "firebird")
def _inside_a_function(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    column = _column_text(element, compiler, options)
    return f"COALESCE({column}, {column})"


def _column_text(element: _Unindexed, compiler: SQLCompiler, options: dict[str, Any]) -> str:
    (column,) = element.clauses
    return str(compiler.process(column, **options))
