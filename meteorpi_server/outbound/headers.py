"""Fields of requests and answers: which may be sent on somebody's behalf, and what answers say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from meteorpi_server.outbound.failures import OutboundError, Reason

MAX_HEADERS: Final = 16
MAX_VALUE_LENGTH: Final = 8192

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
# Visible ASCII, spaces and tabs inside: what servers read alike (RFC 9110 section 5.5).
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
_REFUSED: Final = frozenset(
    {"host", "connection", "transfer-encoding", "range", "upgrade", "accept-encoding", "te", "trailer"}
    | {"keep-alive", "expect"}
)
_REFUSED_BEGINNINGS: Final = ("content-", "if-", "proxy-")
_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_NAME_EXTENDED: Final = re.compile(r"""(?i)(?:^|;)\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^\s;"]*)""")
_NAME_PLAIN: Final = re.compile(r"""(?i)(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""")
_STRONG_TAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


def check_headers(headers: Mapping[str, str]) -> None:
    """Return when these fields may be sent along with a request.

    Raises:
        OutboundError: there are too many, or one of them is malformed or belongs to the connection, the range
            or the coding, which are not the caller's; reason ``refused-header``.

    Source:
        RFC 9110 sections 5.1 and 5.5.
    """
    if len(headers) > MAX_HEADERS:
        raise _refused(f"at most {MAX_HEADERS} headers are sent along")
    if len({name.lower() for name in headers}) < len(headers):
        raise _refused("a header is named twice")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise _refused("a header has no valid name")
        if name.lower() in _REFUSED or name.lower().startswith(_REFUSED_BEGINNINGS):
            raise _refused(f"the header {name} is not sent along")
        if len(value) > MAX_VALUE_LENGTH or not _VALUE.fullmatch(value):
            raise _refused(f"the header {name} has no valid value")


def strong_validator(headers: Mapping[str, str]) -> str | None:
    """The entity tag of an answer that promises equal bytes; None for a weak one or none."""
    tag = headers.get("etag", "").strip()
    return tag if _STRONG_TAG.fullmatch(tag) else None


def modified(headers: Mapping[str, str]) -> int | None:
    """``Last-Modified`` in whole seconds since 1970, UTC; None where it is missing or cannot be read."""
    try:
        found = parsedate_to_datetime(headers.get("last-modified", ""))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp())


def length(headers: Mapping[str, str]) -> int | None:
    """``Content-Length``; None where it is missing, cannot be read, or does not count (chunked)."""
    told = {each.strip() for each in headers.get("content-length", "").split(",")}
    text = told.pop() if len(told) == 1 else ""  # the same one may be told twice (RFC 9112 section 6.3)
    is_number = text.isascii() and text.isdigit() and len(text) <= 19
    return int(text) if is_number and "transfer-encoding" not in headers else None


class ContentRange(NamedTuple):
    """Which part of the whole an answer holds: from `start` up to, not including, `stop`."""

    start: int
    stop: int
    total: int | None


def content_range(headers: Mapping[str, str]) -> ContentRange | None:
    """``Content-Range``; None where it is missing or makes no sense (RFC 9110 section 14.4)."""
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if not found:
        return None
    start, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    return (
        None
        if last < start or (total is not None and last >= total)
        else ContentRange(start, last + 1, total)
    )


def _refused(detail: str) -> OutboundError:
    return OutboundError(detail, reason=Reason.REFUSED_HEADER)


def file_name(headers: Mapping[str, str]) -> str | None:
    """The name of the file in ``Content-Disposition``, ``filename*`` before ``filename``; None without one.

    The name is what the source says, path and all: whoever uses it cleans it.

    Source:
        RFC 6266 section 4.3, RFC 8187 section 3.2.
    """
    text = headers.get("content-disposition", "")
    if found := _NAME_EXTENDED.search(text):
        with suppress(LookupError, UnicodeError):
            return unquote_to_bytes(found[2]).decode(found[1]) or None
    if found := _NAME_PLAIN.search(text):
        name = found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1])
        with suppress(UnicodeError):  # sent as UTF-8 by most who send more than ASCII
            name = name.encode("latin-1").decode()
        return name or None
    return None
