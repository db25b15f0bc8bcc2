"""From what was asked for to the plan of an archive: every entry, its name, its checksum, and the manifest.

Nothing here knows of the request that asked, so that the command line plans in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import utc_datetime_to_milliseconds
from meteorpi_server.archive_api import manifest
from meteorpi_server.archive_api.compressing import compressed, deflated_body
from meteorpi_server.archive_api.items import DirectoryItem, Item, UrlItem
from meteorpi_server.archive_api.naming import RECORD_LAYOUT, record_path
from meteorpi_server.archive_api.options import Options
from meteorpi_server.archive_api.passwords import under_password
from meteorpi_server.archive_api.peers import at_a_peer
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archive_api.remote_items import NumberedUrl, RemoteItems
from meteorpi_server.archive_api.selecting import (
    ChosenRecord,
    LeftOut,
    refuse_without_node,
    select_records,
    time_of,
)
from meteorpi_server.archive_api.tree_entries import tree_entries, walk, with_checksums
from meteorpi_server.archiving import Entry, Form, Plan
from meteorpi_server.archiving.checksums import Checksums
from meteorpi_server.archiving.entries import NO_DETAILS
from meteorpi_server.archiving.entry_names import Names, clean_name
from meteorpi_server.archiving.sources import Source
from meteorpi_server.archiving.trees import Tree
from meteorpi_server.settings import Settings

_SECOND: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Planner:
    """All that plans are made from.

    Attributes:
        db: records and contents.
        settings: limits, and where directories are.
        checksums: of files in directories; None where none are offered.
        remote: what is at other addresses.
        sources: of contents that are here, by kind of entry.
    """

    db: MeteorDatabase
    settings: Settings
    checksums: Checksums | None
    remote: RemoteItems
    sources: Mapping[str, Source]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, and what did not get into it."""

    plan: Plan
    left_out: Sequence[LeftOut]


@dataclass(frozen=True)
class _Draft:
    """An entry whose name is not cleaned yet, and what the manifest says of it beside the name."""

    item: int
    entry: Entry
    about: dict[str, object]
    media_type: str = ""


def make_plan(planner: Planner, items: Sequence[Item], options: Options, now: datetime) -> Planned:
    """The frozen plan of what `items` choose.

    Args:
        planner: what plans are made from.
        items: in the order in which their entries are to be.
        options: that have been checked.
        now: time of the manifest of an archive without anything else.

    Raises:
        RefusedRequestError: an item names nothing that is here, the archive would be empty or too large, or
            names are the same that must not be.
        MissingContentsError: contents are not here that must be.
        SourceFailedError: a file cannot be read.
    """
    refuse_without_node(planner.settings, items)
    most = planner.settings.archive_max_entries
    selection = select_records(
        planner.db, items, missing=options.missing, most=most, peers=planner.remote.peers
    )
    drafts = [_record_draft(chosen, options, index) for index, chosen in enumerate(selection.records)]
    left_out = list(selection.left_out)
    trees = list(_trees(planner, items))
    for index, name, tree in trees:
        drafts += _tree_drafts(planner, index, name, tree)
        left_out += [LeftOut(item=index, name=path, reason=reason) for path, reason in tree.left_out]
    drafts += _url_drafts(planner, items, options, now)
    drafts.sort(key=lambda draft: draft.item)  # stable: each item keeps its order
    _check_amount(planner.settings, drafts, options, left_out)
    drafts = _in_their_forms(planner, drafts, options)
    with_manifest = bool(selection.records) if options.manifest is None else options.manifest
    entries = _named(drafts, options, with_manifest)
    if with_manifest:
        listing = _manifest_entry(planner, items, drafts, entries, left_out, now)
        entries.insert(0, _in_its_form(listing, options))
    plan = Plan(tuple(entries), options.comment.encode(), options.on_error)
    return Planned(plan=plan, left_out=left_out)


def directory_plan(planner: Planner, name: str) -> Plan:
    """The plan of the archive of a directory of the storage.

    Raises:
        NotFoundError: there is no such directory.
        UnavailableError: a part of it cannot be read.
    """
    drafts = list(_tree_drafts(planner, 0, name, walk(planner.settings, name)))
    names = Names()
    entries = (
        _with_name(draft.entry, clean_name(draft.entry.name, index), names)
        for index, draft in enumerate(drafts)
    )
    return Plan(tuple(entries))


def _record_draft(chosen: ChosenRecord, options: Options, index: int) -> _Draft:
    record = chosen.record
    assert record.file_id is not None
    seconds = utc_datetime_to_milliseconds(time_of(record)) // _SECOND
    entry = Entry(
        name=record_path(chosen, options.layout or RECORD_LAYOUT, index),
        kind="record",
        reference=record.file_id.hex,
        size=chosen.facts.size,
        crc=chosen.facts.crc32,
        mtime=seconds,
        form=Form.STORED if chosen.facts.crc32 is not None else Form.BLOCKS,
        details=NO_DETAILS if chosen.facts.crc32 is not None else {"md5": chosen.facts.md5},
    )
    if chosen.url:
        entry = at_a_peer(entry, chosen.url, chosen.facts.md5, options.on_error)
    return _Draft(chosen.item, entry, manifest.record_document(chosen), record.mime_type)


def _trees(planner: Planner, items: Sequence[Item]) -> Iterator[tuple[int, str, Tree]]:
    for index, item in enumerate(items):
        if isinstance(item, DirectoryItem):
            try:
                yield index, item.name, walk(planner.settings, item.name)
            except NotFoundError as error:
                raise RefusedRequestError({"items": {str(index): ["no such directory"]}}) from error


def _url_drafts(planner: Planner, items: Sequence[Item], options: Options, now: datetime) -> Iterator[_Draft]:
    urls = [NumberedUrl(index=n, item=item) for n, item in enumerate(items) if isinstance(item, UrlItem)]
    seconds = utc_datetime_to_milliseconds(now) // _SECOND
    entries = planner.remote.entries(urls, layout=options.layout, on_error=options.on_error, now=seconds)
    for url, entry in zip(urls, entries, strict=True):
        media_type = str(entry.details.get("media_type", ""))
        yield _Draft(url.index, entry, {"url": url.item.url, "size": entry.size}, media_type)


def _tree_drafts(planner: Planner, item: int, name: str, tree: Tree) -> Iterator[_Draft]:
    """Files first read as far as the budget goes: those whose checksum is known can be sent in parts."""
    found = tree_entries(planner.settings, name, tree)
    if planner.checksums is not None:
        found = with_checksums(planner.checksums, found)
    for entry in found:
        yield _Draft(item, entry, {"size": entry.size, "crc32": entry.crc})


def _check_amount(
    settings: Settings, drafts: Sequence[_Draft], options: Options, left_out: Sequence[LeftOut]
) -> None:
    """Refuse what is too much or nothing at all."""
    total = sum(draft.entry.size or 0 for draft in drafts)
    if len(drafts) > settings.archive_max_entries:
        detail = f"{len(drafts)} entries are more than the {settings.archive_max_entries} allowed"
        raise RefusedRequestError({"items": [detail]})
    if settings.archive_max_bytes and total > settings.archive_max_bytes:
        detail = f"{total} bytes are more than the {settings.archive_max_bytes} allowed"
        raise RefusedRequestError({"items": [detail]})
    if not drafts and not options.allow_empty:
        reason = f"; {len(left_out)} were left out" if left_out else ""
        raise RefusedRequestError({"items": [f"there is nothing to put into the archive{reason}"]})


def _in_their_forms(planner: Planner, drafts: list[_Draft], options: Options) -> list[_Draft]:
    """The same, deflated and encrypted as `options` have it."""
    if options.compression == "store" and options.password is None:
        return drafts
    formed = []
    for draft in drafts:
        entry = compressed(draft.entry, draft.media_type, options.compression, planner.sources)
        formed.append(replace(draft, entry=entry if options.password is None else under_password(entry)))
    return formed


def _in_its_form(listing: Entry, options: Options) -> Entry:
    """The manifest, deflated or encrypted as `options` have it."""
    if options.password is not None:
        return under_password(listing)
    return listing if options.compression == "store" else deflated_body(listing)


def _named(drafts: Sequence[_Draft], options: Options, with_manifest: bool) -> list[Entry]:
    """The entries under clean names, no two of which are the same."""
    names = Names([manifest.NAME] if with_manifest else [])
    entries: list[Entry] = []
    errors: dict[str, list[str]] = {}
    for index, draft in enumerate(drafts):
        name = clean_name(draft.entry.name, index)
        if options.duplicates == "fail" and not draft.entry.is_directory and names.is_taken(name):
            errors[str(draft.item)] = [f"another entry is called {name!r}, or nearly so"]
        entries.append(_with_name(draft.entry, name, names))
    if errors:
        raise RefusedRequestError({"items": errors})
    return entries


def _with_name(entry: Entry, name: str, names: Names) -> Entry:
    return replace(entry, name=names.of_directory(name) if entry.is_directory else names.of_file(name))


def _manifest_entry(
    planner: Planner,
    items: Sequence[Item],
    drafts: Sequence[_Draft],
    entries: Sequence[Entry],
    left_out: Sequence[LeftOut],
    now: datetime,
) -> Entry:
    listed = [
        {"name": entry.name, **draft.about}
        for draft, entry in zip(drafts, entries, strict=True)
        if not entry.is_directory
    ]
    body = manifest.manifest_body(planner.db.installation_id, items, listed, left_out)
    newest = max((entry.mtime for entry in entries), default=utc_datetime_to_milliseconds(now) // _SECOND)
    return manifest.text_entry(body, newest)
