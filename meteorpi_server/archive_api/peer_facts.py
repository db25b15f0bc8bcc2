"""What other nodes know of the contents that they offer: the CRC-32 above all, which no header of HTTP says.

With it an archive of what a peer holds has its length and its bytes before anything was fetched, and each
content is checked on its way like one that is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from meteorpi_model import FileRecord
from meteorpi_model.documents import as_count, as_text, read, require_object
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import utc_datetime_to_milliseconds
from meteorpi_server import parsing
from meteorpi_server.outbound import Location, Outbound, OutboundError, Request, UrlPrefix
from meteorpi_server.outbound.facts import Ask, Facts, ask

MOST_BYTES: Final = 1 << 18
"""Longest description of a file that is read; one with a thousand metadata items takes half of it."""

_CONTENT: Final = re.compile(r"(?P<base>.*/)files/content/(?P<id>[0-9a-fA-F]{32})(?:/[^/]*)?")
_SECOND: Final = 1000


def asking_peers(base_urls: Iterable[str]) -> Ask:
    """What asks sources as ever, and those that are peers for more.

    Args:
        base_urls: where the routes of peers begin, or something above that.
    """
    prefixes = [UrlPrefix.parse(url) for url in base_urls]

    def ask_either(outbound: Outbound, request: Request, deadline: float | None = None) -> Facts:
        facts = ask(outbound, request, deadline)
        about = _description_of(request.url, prefixes)
        if about is None or facts.size is None or facts.validator is None:
            return facts
        return _with_description(outbound, replace(request, url=about), deadline, facts)

    return ask_either


def _description_of(url: str, prefixes: Sequence[UrlPrefix]) -> str | None:
    """Where a peer describes the file whose content is at `url`; None for whatever else it is."""
    location = Location.parse(url)
    found = _CONTENT.fullmatch(location.path)
    if found is None or location.query:
        return None
    about = replace(location, path=f"{found['base']}file/{found['id']}")
    return about.url if any(prefix.covers(about) for prefix in prefixes) else None


def _with_description(outbound: Outbound, request: Request, deadline: float | None, facts: Facts) -> Facts:
    """`facts` and what the description adds; the same where it cannot be had, or is of another content."""
    try:
        document = require_object(parsing.load_json(_content(outbound, request, deadline)), "a description")
        described = require_object(document["content"], "content")
        size, md5 = read(described, "size", as_count), read(described, "md5", as_text)
        crc32 = read(described, "crc32", as_count)
        record = FileRecord.from_dict(document["file"])
    except (OutboundError, InvalidDocumentError, KeyError):
        return facts
    if size != facts.size or facts.validator != f'"{md5}"' or crc32 >= 1 << 32 or record.file_time is None:
        return facts
    return replace(facts, crc32=crc32, modified=utc_datetime_to_milliseconds(record.file_time) // _SECOND)


def _content(outbound: Outbound, request: Request, deadline: float | None) -> bytes:
    content = b""
    with outbound.get(request, deadline) as answer:
        for chunk in answer:
            content += chunk
            if len(content) > MOST_BYTES:
                raise InvalidDocumentError("a description of a file is too long")
    return content
