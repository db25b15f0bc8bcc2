"""The service of the block routes that a request is for, and who sends the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from flask import Flask, current_app, request

from meteorpi_server.block_accounts import Caller
from meteorpi_server.context import current_request_id

if TYPE_CHECKING:
    from meteorpi_server.block_api.service import BlockService

_EXTENSION: Final = "meteorpi_blocks"


def bind(app: Flask, name: str, service: BlockService) -> None:
    """Make `service` that of the block routes attached to `app` as `name`."""
    app.extensions.setdefault(_EXTENSION, {})[name] = service


def current_service() -> BlockService:
    """The service of the block routes that the current request is for."""
    services = cast("dict[str, BlockService]", current_app.extensions[_EXTENSION])
    assert request.blueprint is not None
    return services[request.blueprint]


def current_caller() -> Caller:
    """Who sends the current request."""
    return Caller(address=request.remote_addr, request_id=current_request_id())


def needs_account(view: Callable[..., object]) -> None:
    """Have the description of the routes say of a view what it asks for by itself."""
    view.required_roles = ()  # type: ignore[attr-defined]
