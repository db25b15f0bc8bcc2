"""Who may listen to what, from where on, and what is told: the same for sockets and for streams.

Source: A.1, A.9, K-150, K-151 and K-207 of the storage contract.
"""

from __future__ import annotations

import re
from typing import Final

from flask import request
from werkzeug.exceptions import MethodNotAllowed

from meteorpi_db.blocks.names import checked_path, checked_prefix, tag_of
from meteorpi_db.blocks.prefixes import require_owner
from meteorpi_db.blocks.rows import PrefixRow
from meteorpi_model.errors import InvalidDocumentError, NotAllowedError, NotFoundError
from meteorpi_model.values import JsonObject, milliseconds_to_utc_datetime
from meteorpi_server.block_api.service import BlockService, account_key
from meteorpi_server.block_events import Resync, Told

_BLOCKS: Final = frozenset({"block", "blocks"})
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def require_listenable(service: BlockService, prefix: str, path: str | None) -> str:
    """Return when the caller of the current request may listen.

    Args:
        path: of the object, None for all below the prefix, which is a matter of its owner.

    Returns:
        Whom the listener counts for: an account, or an address where anybody may listen.

    Raises:
        MethodNotAllowed: the object is a block; they never change, and nobody listens to them.
        NotAuthenticatedError, NotAllowedError: the caller may not.
        NotFoundError: there is no such prefix, or the caller must not know of the object.
    """
    checked_prefix(prefix)
    place = service.register.find_prefix(prefix)
    if path is not None:
        if _BLOCKS & set(checked_path(path).split("/")):
            raise MethodNotAllowed(valid_methods=["OPTIONS"])
        policy = service.read_policy_of(place)
        if policy == "public":
            return f"address:{request.remote_addr}"
        if policy == "account":
            return account_key(service.caller())
    return _owner(service, place, is_secret=path is not None)


def _owner(service: BlockService, place: PrefixRow | None, *, is_secret: bool) -> str:
    account = service.caller()
    terms = service.terms_of(account)
    if place is None:
        if terms.account_id is not None:
            raise NotFoundError("there is no such prefix")
        return account_key(account)  # which may make it by writing below it
    try:
        require_owner(place, terms.account_id)
    except NotAllowedError as error:
        if is_secret:
            raise NotFoundError("there is no such object") from error
        raise
    return account_key(account)


def known_number() -> int | None:
    """Number of the last event that the caller of the current request knows, None to begin now.

    A browser that comes again does so with the address that it had first, and says in the header what it has
    been told since: so the header counts.

    Raises:
        InvalidDocumentError: it is none.
    """
    text = request.headers.get("Last-Event-ID") or request.args.get("since", "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise InvalidDocumentError("since is the number of an event", pointer="/since")
    return int(text)


def message(told: Told) -> JsonObject:
    """An event as listeners are told of it."""
    if isinstance(told, Resync):
        return {"operation": "RESYNC", "prefix": told.prefix, "seq": told.number}
    found: JsonObject = {
        "operation": told.operation,
        "prefix": told.prefix,
        "path": f"{told.prefix}/{told.path}",
    }
    if told.sha256 is not None:
        found |= {"etag": tag_of(told.sha256), "size": told.size}
    time = milliseconds_to_utc_datetime(told.occurred_at).isoformat(timespec="milliseconds") + "Z"
    return found | {"time": time, "seq": told.number}
