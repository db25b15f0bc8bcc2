"""The first entry of an archive: what is in it, where it came from, and what is missing.

It says nothing of the time or the way of the download, so that equal requests to a node get equal bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from meteorpi_model.values import JsonObject, utc_datetime_to_milliseconds
from meteorpi_server.archive_api.items import (
    DirectoryItem,
    EventItem,
    Item,
    NightItem,
    RecordItem,
    SearchItem,
    UrlItem,
)
from meteorpi_server.archive_api.selecting import ChosenRecord, LeftOut
from meteorpi_server.archiving import Entry

NAME: Final = "MANIFEST.json"
FORMAT: Final = "meteorpi-archive-manifest"
VERSION: Final = 1


def manifest_body(
    node_id: str,
    items: Iterable[Item],
    entries: Sequence[Mapping[str, object]],
    left_out: Iterable[LeftOut],
) -> bytes:
    """The bytes of a manifest.

    Args:
        node_id: of the node that made the archive.
        items: what was asked for.
        entries: one object for each entry, in order.
        left_out: what was chosen and could not go in.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "node": node_id,
        "selection": [item_document(item) for item in items],
        "skipped": [each.as_dict() for each in left_out],
    }
    # A line for each entry is as readable as an indented document, and made in a fifth of the time.
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = ",\n".join(map(encode, entries))
    text = f'{encode(document)[:-1]},\n"entries": [\n{lines}\n]}}\n'
    return text.encode("utf-8", "replace")


def item_document(item: Item) -> JsonObject:
    """An item as a request has it, without the headers of URLs, which may be secret."""
    match item:
        case RecordItem(file_id):
            return {"record": file_id.hex}
        case SearchItem(search):
            return {"search": search.as_dict()}
        case EventItem(event_id):
            return {"event": event_id.hex}
        case NightItem(camera_id, day):
            return {"night": {"camera": camera_id, "date": day.isoformat()}}
        case DirectoryItem(name):
            return {"dir": name}
        case UrlItem(url):
            return {"url": url}


def record_document(chosen: ChosenRecord) -> JsonObject:
    """What the manifest says of a record beside its name."""
    record, facts = chosen.record, chosen.facts
    document: JsonObject = {
        "file_id": None if record.file_id is None else record.file_id.hex,
        "camera_id": record.camera_id,
        "file_time": utc_datetime_to_milliseconds(record.file_time),
        "mime_type": record.mime_type,
        "semantic_type": str(record.semantic_type),
        "size": facts.size,
        "crc32": facts.crc32,
        "md5": facts.md5,
    }
    if chosen.event_id is not None:
        document["event_id"] = chosen.event_id.hex
    return document


def text_entry(body: bytes, mtime: int) -> Entry:
    """The manifest as an entry.

    Args:
        body: its content.
        mtime: whole seconds since 1970.
    """
    return Entry(name=NAME, kind="text", size=len(body), crc=zlib.crc32(body), mtime=mtime, body=body)
