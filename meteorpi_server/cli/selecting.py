"""Which files or events a command is about: one set of options, turned into one search document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from meteorpi_model import EventSearch, FileRecordSearch
from meteorpi_server.cli.parameters import CONSTRAINT, TIME, TYPE

Command = Callable[..., Any]

DEFAULT_LIMIT = 100

_COMMON = (
    click.option("--camera", "camera_ids", multiple=True, help="Camera id; may be repeated."),
    click.option("--after", type=TIME, help="Later than this: 2015-04-01T21:30, Unix seconds, or 24h ago."),
    click.option("--before", type=TIME, help="Earlier than this."),
    click.option(
        "--after-offset", type=float, help="Later in the night than so many seconds after noon UTC."
    ),
    click.option("--before-offset", type=float, help="Earlier in the night than so many seconds after noon."),
    click.option("--lat-min", type=float, help="Southern limit of the camera's place, in degrees."),
    click.option("--lat-max", type=float, help="Northern limit, in degrees."),
    click.option("--long-min", type=float, help="Western limit, in degrees."),
    click.option("--long-max", type=float, help="Eastern limit, in degrees."),
    click.option(
        "--meta",
        "meta_constraints",
        type=CONSTRAINT,
        multiple=True,
        help="Condition on metadata: key=value, key<=number, key>=number; may be repeated.",
    ),
    click.option("--own", "exclude_imported", is_flag=True, help="Leave out what came from other nodes."),
    click.option(
        "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, help="At most so many; 0 for all."
    ),
    click.option("--skip", type=click.IntRange(0), default=0, help="Leave out so many from the front."),
)
_OF_FILES = (
    click.option(
        "--type", "semantic_type", type=TYPE, help="Semantic type, such as meteorpi:timelapse/frame."
    ),
    click.option("--mime", "mime_type", help="MIME type, such as image/png."),
    click.option(
        "--no-events", "exclude_events", is_flag=True, help="Leave out files that belong to events."
    ),
)
_OF_EVENTS = (click.option("--type", "event_type", type=TYPE, help="Type of the event."),)


def file_search_options(command: Command) -> Command:
    """Give `command` the options of a search for files, which `file_search` takes."""
    return with_options(command, (*_OF_FILES, *_COMMON))


def event_search_options(command: Command) -> Command:
    """Give `command` the options of a search for events, which `event_search` takes."""
    return with_options(command, (*_OF_EVENTS, *_COMMON))


def file_search(**options: Any) -> FileRecordSearch:
    """The search that the options ask for."""
    return FileRecordSearch(**_without_empty_lists(options))


def event_search(**options: Any) -> EventSearch:
    """The search that the options ask for."""
    return EventSearch(**_without_empty_lists(options))


def node_options(command: Command) -> Command:
    """Give `command` the options that say which node elsewhere to ask."""
    options = (
        click.option("--node", "node_url", metavar="URL", help="Ask this node over HTTP, not the database."),
        click.option("--ca-file", metavar="FILE", help="Trust the certificate authorities in FILE instead."),
    )
    return with_options(command, options)


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Give `command` the click `options`, in that order."""
    for option in reversed(options):
        command = option(command)
    return command


def _without_empty_lists(options: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value == () else value for name, value in options.items()}
