"""Who may read an object: by policy, or by a signed link, which owners get here.

Source: K-139 and K-207 of the storage contract.
"""

from __future__ import annotations

from typing import Final

from flask import jsonify, request, url_for
from flask.typing import ResponseReturnValue

from meteorpi_db.blocks.names import checked_path, checked_prefix
from meteorpi_db.blocks.prefixes import require_owner
from meteorpi_db.blocks.rows import PrefixRow
from meteorpi_model.errors import InvalidDocumentError, NotAllowedError, NotFoundError
from meteorpi_model.values import milliseconds_to_utc_datetime
from meteorpi_server.block_api.current import current_service
from meteorpi_server.block_api.service import BlockService

_MOST_USES: Final = 1_000_000


def require_readable(service: BlockService, place: PrefixRow | None, prefix: str, path: str) -> str:
    """Refuse who may not read an object, without telling whether there is one.

    Args:
        place: its prefix; None where there is none, which looks like one with the policy of the server.

    Returns:
        The counter of the link that was used; empty for none.

    Raises:
        NotFoundError, NotAuthenticatedError, NotAllowedError: it may not be read.
    """
    policy = service.read_policy_of(place)
    if policy == "public":
        return ""
    link = request.args.get("link")
    if link is not None:
        return service.links.counter_of(link, prefix, path, service.now_seconds())
    terms = service.terms_of(service.caller())
    if policy != "account" and place is not None and terms.account_id is not None:
        try:
            require_owner(place, terms.account_id)
        except NotAllowedError as error:
            raise NotFoundError("there is no such object") from error
    return ""


def use_link(service: BlockService, counter: str, prefix: str, path: str) -> None:
    """Count the use of a link, where uses are counted.

    Raises:
        NotFoundError: it was used as often as it may be.
    """
    is_counted = counter and request.method == "GET"
    if is_counted and not service.register.use_link(counter, prefix, path):
        raise NotFoundError("there is no such object")


def create_link(prefix: str, path: str) -> ResponseReturnValue:
    """A link to an object below one's own prefix: ``?link=<seconds>``, perhaps with ``&uses=<number>``."""
    service = current_service()
    checked_prefix(prefix), checked_path(path)
    terms = service.terms_of(service.caller())
    seconds = _number("link", service.settings.block_link_seconds)
    uses = _number("uses", _MOST_USES) if "uses" in request.args else None
    service.register.require_own(prefix, terms)
    service.register.find(prefix, path)
    expires_at = int(service.now_seconds()) + seconds
    counter = "" if uses is None else service.register.create_link(prefix, path, uses, expires_at * 1000)
    link = service.links.sign(prefix, path, expires_at, counter)
    url = url_for(".read_object", prefix=prefix, path=path, link=link)
    expires = milliseconds_to_utc_datetime(expires_at * 1000).isoformat() + "Z"
    answer = jsonify(link=url, expires=expires, uses=uses)
    return answer, 201, {"Location": url, "Cache-Control": "no-store"}


def _number(name: str, most: int) -> int:
    text = request.args.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and 1 <= int(text) <= most):
        raise InvalidDocumentError(f"{name} is 1 to {most}", pointer=f"/{name}")
    return int(text)
