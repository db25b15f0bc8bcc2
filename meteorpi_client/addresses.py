"""Forming the addresses of a node's routes."""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit
from uuid import UUID

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.search import EventSearch, FileRecordSearch
from meteorpi_model.values import JsonObject

# As one path segment these mean "here" and "up": clients and proxies remove them, however they are encoded.
_DOT_SEGMENTS = frozenset({".", ".."})


def checked_base_url(base_url: str) -> str:
    """`base_url` without trailing slashes.

    Raises:
        InvalidDocumentError: not an absolute http or https address, or one with password, query or fragment.
    """
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidDocumentError(f"{base_url!r} is not a web address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidDocumentError(f"{base_url!r} is not a web address such as https://host/api")
    if parts.username or parts.password:
        raise InvalidDocumentError("credentials do not belong in the address of a node; pass auth or token")
    if parts.query or parts.fragment:
        raise InvalidDocumentError(f"the address of a node ends with its path: {base_url!r}")
    return base_url.rstrip("/")


def segment(text: str) -> str:
    """`text` as one path segment, percent-encoded once: a space is ``%20``, a plus sign ``%2B``."""
    return quote(text, safe="")


def twice_encoded(text: str) -> str:
    """`text` as one path segment, percent-encoded twice, because many servers decode or refuse ``%2F``."""
    return quote(quote(text, safe=""), safe="")


def search_segment(search: FileRecordSearch | EventSearch) -> str:
    """`search` as the one path segment that the query routes take."""
    return document_segment(search.as_dict())


def document_segment(document: JsonObject) -> str:
    """A JSON document as one path segment."""
    return twice_encoded(json.dumps(document, separators=(",", ":")))


def content_url(base_url: str, file_id: UUID, file_name: str | None) -> str:
    """Address of the content of a file; the name, where there is one, only serves browsers."""
    url = f"{base_url}/files/content/{file_id.hex}"
    if not file_name or file_name in _DOT_SEGMENTS:
        return url
    return f"{url}/{segment(file_name)}"
