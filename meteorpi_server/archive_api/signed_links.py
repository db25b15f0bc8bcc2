"""Links that a client signed itself: JSON Web Tokens, HMAC with SHA-256 and nothing else.

The key is what is kept of the client's secret: its SHA-256. HMAC replaces a key that is longer than its block
of 64 bytes by exactly that, so the digest verifies what was signed with the secret, which need not be kept.

Source: RFC 7515 (compact serialisation), RFC 7519 (claims), RFC 2104 section 2 (long keys).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from meteorpi_model.errors import InvalidDocumentError, NotAllowedError
from meteorpi_model.values import JsonObject

ALGORITHM: Final = "HS256"
"""What a token has to name; with a longer hash the digest of the secret would not do as its key."""

MAX_TOKEN_CHARACTERS: Final = 16_384

ALLOWED_HEADERS: Final = frozenset(
    {"content-disposition", "content-language", "content-type", "cache-control", "last-modified"}
)
"""Of the ``response_headers`` of a token; it must not set cookies, or say what the node allows."""

_PART = re.compile(r"[A-Za-z0-9_-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")  # RFC 9110 section 5.5, without what confuses terminals


@dataclass(frozen=True, kw_only=True)
class SignedLink:
    """What a token asks for.

    Attributes:
        url: of the source; not checked here.
        content_type: what to call the content in place of what the source says, or None.
        headers: of the answer; lower-case names, all of them in `ALLOWED_HEADERS`.
    """

    url: str
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def read_link(token: str, key: bytes, now_seconds: float, *, requires_expiry: bool = False) -> SignedLink:
    """Verify `token` and read its claims.

    Args:
        token: three parts in base64url, joined by dots.
        key: SHA-256 of the client's secret, or a shorter secret as it is.
        now_seconds: the present time, in seconds since 1970.
        requires_expiry: refuse a token without ``exp``.

    Raises:
        InvalidDocumentError: not a token, not signed with the key by `ALGORITHM`, or a claim cannot be used.
            Deliberately the same for a wrong form and a wrong signature.
        NotAllowedError: it has expired, or is not valid yet, or does not say until when although it has to.
    """
    header, payload, signature, signed = _parts(token)
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    is_known = header.get("alg") == ALGORITHM and "crit" not in header
    if not hmac.compare_digest(signature, expected) or not is_known:
        _refuse()
    claims = _json_object(payload)
    _check_times(claims, now_seconds, requires_expiry)
    return _link(claims)


def _parts(token: str) -> tuple[JsonObject, bytes, bytes, bytes]:
    parts = token.split(".")
    if len(token) > MAX_TOKEN_CHARACTERS or len(parts) != 3:
        _refuse()
    header, payload, signature = (_decode(part) for part in parts)
    return _json_object(header), payload, signature, f"{parts[0]}.{parts[1]}".encode("ascii")


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(part: str) -> bytes:
    """The bytes of one part, which can be written in one way only: no two tokens say the same."""
    if not _PART.fullmatch(part) or len(part) % 4 == 1:
        _refuse()
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if _encode(data).decode("ascii") != part:
        _refuse()
    return data


def _json_object(data: bytes) -> JsonObject:
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError("this is not a signed link") from error
    if not isinstance(document, dict):
        _refuse()
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that comes twice: readers differ in which one counts (RFC 7515 section 4)."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name comes twice")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_times(claims: JsonObject, now_seconds: float, requires_expiry: bool) -> None:
    expiry, beginning = _instant(claims, "exp"), _instant(claims, "nbf")
    if expiry is None and requires_expiry:
        raise NotAllowedError("signed links have to say until when they are good: exp is missing")
    if expiry is not None and now_seconds >= expiry:
        raise NotAllowedError("this link has expired")
    if beginning is not None and now_seconds < beginning:
        raise NotAllowedError("this link is not good yet")


def _instant(claims: JsonObject, name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidDocumentError(f"{name} must be a number of seconds since 1970", pointer=f"/{name}")
    return value


def _link(claims: JsonObject) -> SignedLink:
    url, content_type = claims.get("url"), claims.get("content-type")
    if not isinstance(url, str) or not url:
        raise InvalidDocumentError("url is missing", pointer="/url")
    if content_type is not None:
        content_type = _field_value(content_type, "content-type")
    headers = _headers(claims.get("response_headers", {}))
    return SignedLink(url=url, content_type=content_type, headers=headers)


def _headers(value: object) -> dict[str, str]:
    """Those of the claim that are allowed; the others are left out, as the clients of FPX send some."""
    if not isinstance(value, dict):
        raise InvalidDocumentError("response_headers must be an object", pointer="/response_headers")
    wanted = {name.lower(): text for name, text in value.items() if name.lower() in ALLOWED_HEADERS}
    return {name: _field_value(text, f"response_headers/{name}") for name, text in wanted.items()}


def _field_value(value: object, place: str) -> str:
    if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
        raise InvalidDocumentError(f"{place} must be text in one line", pointer=f"/{place}")
    return value


def _refuse() -> NoReturn:
    raise InvalidDocumentError("this is not a signed link")
