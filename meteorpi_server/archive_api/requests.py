"""Reading what ``POST /ticket/generate`` is sent, as FPX clients and others send it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meteorpi_server import parsing
from meteorpi_server.archive_api.items import SELECTORS, Item, UrlItem, read_items, read_object
from meteorpi_server.archive_api.makers import Maker
from meteorpi_server.archive_api.options import Options, read_options
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archive_api.remote_items import may_ask
from meteorpi_server.settings import Settings

TYPES: Final = ("zip", "stream")
_MEMBERS: Final = frozenset({"type", "items", "options"})


@dataclass(frozen=True, kw_only=True)
class TicketRequest:
    """What a ticket is asked to be.

    Attributes:
        ticket_type: ``zip`` or ``stream``.
        items: of all kinds, in order.
        options: checked.
    """

    ticket_type: str
    items: Sequence[Item]
    options: Options


def read_ticket_request(settings: Settings) -> TicketRequest:
    """The body of the current request, which is JSON whatever its type is said to be.

    Raises:
        InvalidDocumentError: it is not JSON.
        RequestEntityTooLarge: longer than the setting `archive_max_request_bytes`.
        RefusedRequestError: it is JSON and cannot be used.
    """
    body = parsing.body_bytes(settings.archive_max_request_bytes)
    document = parsing.load_json(body) if body.strip() else {}
    if not isinstance(document, dict):
        raise RefusedRequestError({"_schema": [f"expected an object, not {type(document).__name__}"]})
    return ticket_request(document, settings)


def ticket_request(document: Mapping[str, object], settings: Settings) -> TicketRequest:
    """The members of a request.

    Raises:
        RefusedRequestError: one is unknown, missing, or cannot be used.
    """
    errors: dict[str, object] = {name: ["Unknown field."] for name in sorted(document.keys() - _MEMBERS)}
    ticket_type = document.get("type", "zip")
    if ticket_type not in TYPES:
        errors["type"] = [f"must be one of {', '.join(TYPES)}"]
    if document.get("items") is None:
        errors["items"] = ["Missing data for required field."]
    if errors:
        raise RefusedRequestError(errors)
    items = read_items(document["items"], settings.archive_max_items)
    if ticket_type == "stream" and len(items) != 1:
        raise RefusedRequestError({"type": ["stream takes exactly one item"]})
    options = read_options(read_object(document.get("options", {}), "options"), settings)
    if not items and not options.allow_empty:
        raise RefusedRequestError({"items": ["there is nothing to put into the archive"]})
    return TicketRequest(ticket_type=str(ticket_type), items=items, options=options)


def check_rights(maker: Maker, items: Sequence[Item]) -> None:
    """Look whether `maker` may ask for each of `items`.

    Raises:
        RefusedRequestError: it may not; all of those items are named.
    """
    errors = {
        str(index): [f"you may not ask for items of this kind ({SELECTORS[type(item)]})"]
        for index, item in enumerate(items)
        if not _may_ask_for(maker, item)
    }
    if errors:
        raise RefusedRequestError({"items": errors})


def _may_ask_for(maker: Maker, item: Item) -> bool:
    if isinstance(item, UrlItem) and maker.client is not None:
        return may_ask(maker.client.rights, item.url)
    return SELECTORS[type(item)] in maker.selectors
