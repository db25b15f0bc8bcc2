"""``meteorpi archive pack`` and ``ticket add``: what the routes do for callers, done from the shell."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from meteorpi_db.archives.tickets import Owner
from meteorpi_model.errors import NotFoundError
from meteorpi_server.archive_api.items import Item, read_item
from meteorpi_server.archive_api.makers import ANYBODY, Maker
from meteorpi_server.archive_api.options import Options, read_options
from meteorpi_server.archive_api.planning import Planned, make_plan
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.tickets import keep_ticket
from meteorpi_server.archiving.sending import send
from meteorpi_server.cli.archive_files import own_url, password_option
from meteorpi_server.cli.output import Advance, Output, json_option, progress, size_text
from meteorpi_server.cli.selecting import with_options
from meteorpi_server.cli.setup import Setup, pass_setup


def read_item_text(text: str) -> Item:
    """An item as people write it: a URL, JSON, ``event:ID``, ``night:CAMERA/DATE``, ``dir:NAME``, or an id.

    Raises:
        InvalidDocumentError: it is none of these, or what it holds cannot be used.
    """
    if text.startswith("{"):
        return read_item(_read_json(text))
    kind, colon, rest = text.partition(":")
    if not colon:
        return read_item({"record": text})
    if kind in ("record", "event", "dir"):
        return read_item({kind: rest})
    if kind == "night":
        camera_id, _, day = rest.rpartition("/")
        return read_item({"night": {"camera": camera_id, "date": day}})
    return read_item(text)


def item_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the arguments and options that say what goes into an archive, for `items_of`."""
    return with_options(
        command,
        (
            click.argument("texts", metavar="ITEM...", nargs=-1),
            click.option(
                "--search", "searches", multiple=True, metavar="JSON", help="All files that a search finds."
            ),
            click.option("--url", "urls", multiple=True, help="Something at a web address."),
            click.option("--options", "options_text", default="{}", metavar="JSON", help="Of the archive."),
            password_option,
        ),
    )


def items_of(texts: Iterable[str], searches: Iterable[str], urls: Iterable[str]) -> list[Item]:
    """What was asked for: items first, then searches, then addresses.

    Raises:
        InvalidDocumentError: something cannot be read.
    """
    items = [read_item_text(text) for text in texts]
    items += [read_item({"search": _read_json(text)}) for text in searches]
    items += [read_item({"url": url}) for url in urls]
    if not items:
        raise click.UsageError("name at least one ITEM, --search or --url")
    return items


def options_of(service: ArchiveService, text: str, password: str | None) -> Options:
    """The options of an archive, out of the text of a JSON object, and its password.

    Raises:
        InvalidDocumentError: it is none, or an option cannot be used.
    """
    document = _read_json(text)
    if not isinstance(document, dict):
        raise click.UsageError("--options takes a JSON object")
    if "password" in document:
        raise click.UsageError("arguments can be seen by everybody on this machine: use --password-file")
    if password is not None:
        document["password"] = password
    return read_options(document, service.settings)


@click.command()
@item_options
@click.option(
    "-o",
    "--output-file",
    "goal",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where the archive goes.",
)
@json_option
@pass_setup
def pack(
    setup: Setup,
    output: Output,
    texts: Sequence[str],
    searches: Sequence[str],
    urls: Sequence[str],
    options_text: str,
    password: str | None,
    goal: Path,
) -> None:
    """Write the archive that the node would send for the same items, byte for byte, without a server.

    An ITEM is the id of a file, event:ID, night:CAMERA/2016-01-31, dir:NAME, a web address, or JSON as
    requests have it. The file gets its name when it is complete.
    """
    items = items_of(texts, searches, urls)
    with setup.open_database(create=False) as database:
        service = ArchiveService(database, setup.settings)
        options = options_of(service, options_text, password)
        planned = make_plan(service.planner, items, options, database.clock())
        with progress(goal.name, in_bytes=True) as advance:
            size_bytes = _write(service, planned, goal, advance, options.password)
    output.facts(
        {
            "path": goal,
            "entries": len(planned.plan.entries),
            "size": size_bytes if output.as_json else size_text(size_bytes),
            "etag": planned.plan.etag,
            "left_out": [each.as_dict() for each in planned.left_out],
        }
    )


@click.command("add")
@item_options
@click.option("--client", "client_name", metavar="NAME", help="In the name of this client; else of nobody.")
@click.option(
    "--base", "base_url", metavar="URL", help="Where users find the routes; else as in the settings."
)
@click.option(
    "--out",
    "form",
    type=click.Choice(["facts", "link", "id"]),
    default="facts",
    show_default=True,
    help="What to print.",
)
@json_option
@pass_setup
def add_ticket(
    setup: Setup,
    output: Output,
    texts: Sequence[str],
    searches: Sequence[str],
    urls: Sequence[str],
    options_text: str,
    password: str | None,
    client_name: str | None,
    base_url: str | None,
    form: str,
) -> None:
    """Make a ticket: whoever has its link can download the archive of the items until it expires.

    An ITEM is as for `meteorpi archive pack`. The rights of a client are not looked at: who runs the node may
    do all of it.
    """
    items = items_of(texts, searches, urls)
    with setup.open_database(create=False) as database:
        service = ArchiveService(database, setup.settings)
        maker = _maker(service, client_name)
        options = options_of(service, options_text, password)
        planned = make_plan(service.planner, items, options, database.clock())
        ticket = keep_ticket(service, maker, planned, options)
    link = f"{base_url or own_url(setup.settings)}/ticket/{ticket.ticket_id}/download"
    if form != "facts":
        click.echo(link if form == "link" else str(ticket.ticket_id))
        return
    output.facts(
        {
            "id": str(ticket.ticket_id),
            "href": link,
            "expires": ticket.expires_at,
            "entries": ticket.entries,
            "bytes": ticket.size_bytes,
            "left_out": [each.as_dict() for each in planned.left_out],
        }
    )


def _maker(service: ArchiveService, client_name: str | None) -> Maker:
    if client_name is None:
        return ANYBODY
    client = service.register.client(client_name)
    if client is None:
        raise NotFoundError(f"there is no client {client_name!r}")
    return Maker(owner=Owner(client_id=client.client_id), selectors=client.rights.selectors, client=client)


def _write(
    service: ArchiveService, planned: Planned, goal: Path, advance: Advance, password: str | None
) -> int:
    """Write the archive; gives its bytes."""
    written = 0
    with (
        _completed(goal) as stream,
        service.remote.opened_ahead(planned.plan, service.sources) as sources,
        closing(send(planned.plan, sources, password=password)) as chunks,
    ):
        for chunk in chunks:
            written += stream.write(chunk)
            advance(written, planned.plan.total_bytes)
    return written


@contextmanager
def _completed(goal: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block has ended well, and is gone otherwise."""
    part = goal.with_name(f".{goal.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(goal)
    finally:
        part.unlink(missing_ok=True)


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{text[:60]!r} is not JSON: {error}") from error
