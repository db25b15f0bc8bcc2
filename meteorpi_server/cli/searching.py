"""``meteorpi search``: files or events, here or on another node."""

from __future__ import annotations

from typing import Any

import click

from meteorpi_model import Event, FileRecord
from meteorpi_server.cli.output import Output, Row, json_option, size_text
from meteorpi_server.cli.selecting import (
    event_search,
    event_search_options,
    file_search,
    file_search_options,
    node_options,
)
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.sources import open_source

_FILE_COLUMNS = ("file_time", "camera_id", "semantic_type", "mime_type", "size", "file_name", "file_id")
_EVENT_COLUMNS = ("event_time", "camera_id", "event_type", "files", "metadata", "event_id")


@click.group()
def search() -> None:
    """Search files or events, newest first, here or on another node."""


@search.command("files")
@node_options
@json_option
@file_search_options
@pass_setup
def search_files(
    setup: Setup, node_url: str | None, ca_file: str | None, output: Output, **options: Any
) -> None:
    """Search file records."""
    with open_source(setup, node_url, ca_file) as source:
        found = source.iterate_files(file_search(**options))
        count = output.rows((file_row(record, output) for record in found), _FILE_COLUMNS)
    output.say(f"{count} files")


@search.command("events")
@node_options
@json_option
@event_search_options
@pass_setup
def search_events(
    setup: Setup, node_url: str | None, ca_file: str | None, output: Output, **options: Any
) -> None:
    """Search events."""
    with open_source(setup, node_url, ca_file) as source:
        found = source.iterate_events(event_search(**options))
        count = output.rows((event_row(event, output) for event in found), _EVENT_COLUMNS)
    output.say(f"{count} events")


def file_row(record: FileRecord, output: Output) -> Row:
    """One file record: the wire form for scripts, what fits on a line for people."""
    if output.as_json:
        return record.as_dict()
    return record.as_dict() | {"file_time": record.file_time, "size": size_text(record.file_size)}


def event_row(event: Event, output: Output) -> Row:
    """One event: the wire form for scripts, what fits on a line for people."""
    if output.as_json:
        return event.as_dict()
    metadata = [f"{item.key.s}={item.value}" for item in event.meta]
    files = len(event.file_records)
    return event.as_dict() | {"event_time": event.event_time, "files": files, "metadata": metadata}
