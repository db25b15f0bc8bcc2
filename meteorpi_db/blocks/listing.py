"""Objects below a prefix, a page at a time, as folders where that is wanted.

Source: K-130 of the storage contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, select

from meteorpi_db.blocks.rows import ObjectRow, object_from
from meteorpi_db.blocks.tables import block_object

MOST_ENTRIES: Final = 1000
_BEHIND: Final = "\x7f"
"""Behind every character that a path may have."""

_ROWS_WITH_FOLDERS: Final = 50
"""Read at once where most of them may be in one folder, of which one is enough."""

_OBJECT = block_object


@dataclass(kw_only=True)
class Page:
    """A page of a listing.

    Attributes:
        objects: in order of the bytes of their paths.
        folders: beginnings of paths up to a delimiter, in that order; each stands for all that is in it.
        next_after: what to ask for the page after; None at the end.
    """

    objects: list[ObjectRow] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    next_after: str | None = None

    def __len__(self) -> int:
        return len(self.objects) + len(self.folders)


def list_page(
    connection: Connection,
    prefix: str,
    *,
    start: str = "",
    after: str = "",
    limit: int = MOST_ENTRIES,
    delimiter: str = "",
) -> Page:
    """One page of what is below a prefix.

    Args:
        prefix: its name.
        start: only paths that begin with this.
        after: only what comes after this path, or after this folder.
        limit: entries, 1 to `MOST_ENTRIES`.
        delimiter: gather paths that have it after `start`; empty gathers nothing.
    """
    page = Page()
    cursor = after + _BEHIND if delimiter and after.endswith(delimiter) else after
    at_once = min(limit + 1, _ROWS_WITH_FOLDERS) if delimiter else limit + 1
    while True:
        rows = _rows_after(connection, prefix, start, cursor, at_once)
        for row in rows:
            if row.path <= cursor:  # in the folder that came last
                continue
            if len(page) == limit:
                page.next_after = _last_of(page)
                return page
            cursor = _enter(page, row, start, delimiter)
        if len(rows) < at_once:
            return page


def _rows_after(connection: Connection, prefix: str, start: str, after: str, limit: int) -> list[ObjectRow]:
    conditions = [_OBJECT.c.prefix == prefix, _OBJECT.c.path > after]
    if start:
        conditions += [_OBJECT.c.path >= start, _OBJECT.c.path < start + _BEHIND]
    statement = select(_OBJECT).where(*conditions).order_by(_OBJECT.c.path).limit(limit)
    return [object_from(row) for row in connection.execute(statement)]


def _enter(page: Page, row: ObjectRow, start: str, delimiter: str) -> str:
    """Put an object, or the folder it is in, on the page; gives where the page goes on."""
    inner = row.path[len(start) :]
    if delimiter and delimiter in inner:
        folder = start + inner.partition(delimiter)[0] + delimiter
        page.folders.append(folder)
        return folder + _BEHIND
    page.objects.append(row)
    return row.path


def _last_of(page: Page) -> str:
    ends = [page.objects[-1].path] if page.objects else []
    return max(ends + page.folders[-1:])
