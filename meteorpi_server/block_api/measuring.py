"""Notes are taken of every request of the block routes: see :mod:`.request_notes`."""

from __future__ import annotations

from flask import Blueprint, Response

from meteorpi_server.block_api import request_notes
from meteorpi_server.block_api.current import current_service


def measure(blueprint: Blueprint) -> None:
    """Have notes taken of all requests of `blueprint`."""
    blueprint.before_request(_begin)
    blueprint.after_request(_follow)


def _begin() -> None:
    request_notes.begin(current_service().metrics)


def _follow(response: Response) -> Response:
    return request_notes.follow(response, current_service().metrics)
