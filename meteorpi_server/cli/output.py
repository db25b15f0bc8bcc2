"""What commands print: tables and facts for people, JSON for scripts, progress on terminals.

Results go to standard output; progress, questions and complaints to standard error.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from meteorpi_model.values import utc_datetime_to_milliseconds

Row = Mapping[str, object]
Advance = Callable[[int, int | None], None]
Command = TypeVar("Command", bound=Callable[..., object])

_LONGEST_CELL = 100
_PAGE_ROWS = 500


class Output:
    """Prints the results of one command.

    Args:
        as_json: for scripts: each row, or the one result, as a JSON object on a line of its own. Times are
            milliseconds and ids hexadecimal there, as on the wire.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def rows(self, rows: Iterable[Row], columns: Sequence[str]) -> int:
        """Print a table, or a JSON object for each row; both while the rows come.

        Args:
            rows: what to print; JSON shows all their members, a table only `columns`.
            columns: members to show to people.

        Returns:
            The number of rows.
        """
        count, page = 0, []
        for row in rows:
            count += 1
            if self.as_json:
                _print_json(row)
                continue
            page.append([_cell(row.get(column)) for column in columns])
            if len(page) == _PAGE_ROWS:
                _print_table(columns, page, with_head=count == _PAGE_ROWS)
                page.clear()
        if page:
            _print_table(columns, page, with_head=count < _PAGE_ROWS)
        return count

    def facts(self, facts: Row) -> None:
        """Print one result: a line for each member, or one JSON object."""
        if self.as_json:
            _print_json(facts)
            return
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' '):<{width}}  {_text(value)}")

    def say(self, text: str) -> None:
        """Tell a person; scripts that asked for JSON are not told."""
        if not self.as_json:
            click.echo(printable(text))

    def warn(self, text: str) -> None:
        """Tell whoever watches, without disturbing the results."""
        click.echo(printable(text), err=True)


def json_option(command: Command) -> Command:
    """Give `command` the option ``--json``, handed over as `output`, an `Output`."""
    return click.option(
        "--json",
        "output",
        is_flag=True,
        callback=lambda context, parameter, value: Output(bool(value)),
        help="Print JSON: one object on each line.",
    )(command)


def printable(text: str) -> str:
    """`text` in one line that cannot command a terminal; names of files may come from anywhere."""
    return "".join(
        character if _is_printable(character) else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _is_printable(character: str) -> bool:
    return unicodedata.category(character)[0] != "C"


def size_text(size_bytes: float) -> str:
    """A number of bytes for people, such as ``3.7 MB`` (of 10^6 bytes)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def time_text(time: datetime | None) -> str:
    """An instant for people: UTC, to the millisecond only where it matters."""
    if time is None:
        return "-"
    return time.isoformat(" ", "milliseconds" if time.microsecond else "seconds")


@contextmanager
def progress(description: str, *, in_bytes: bool = False) -> Iterator[Advance]:
    """Show how long work goes on; only on a terminal, and on standard error.

    Args:
        description: what is being done.
        in_bytes: numbers are bytes.

    Yields:
        To be called with what is done and the whole, where that is known.
    """
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
    columns += [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn()]
    columns += [TaskProgressColumn(), TimeElapsedColumn()]
    with Progress(
        *columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    ) as bar:
        task = bar.add_task(printable(description), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(row: Row) -> None:
    click.echo(json.dumps(row, default=_json_value, ensure_ascii=False))


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return utc_datetime_to_milliseconds(value)
    if isinstance(value, UUID):
        return value.hex
    return str(value)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, with_head: bool) -> None:
    lines = [[column.replace("_", " ") for column in columns], *rows] if with_head else rows
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    text = _text(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, dict):
        return printable(json.dumps(value, default=_json_value, ensure_ascii=False))
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value)))
    return printable(str(value))
