"""The accounting protocol's other side: a node that other servers ask about its accounts.

Source: A.4 and the table of routes in part C of the storage contract.
"""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from meteorpi_model.errors import NotFoundError
from meteorpi_server.block_accounts.provider import MOST_QUESTION_BYTES
from meteorpi_server.block_api.current import current_service
from meteorpi_server.context import current_request_id


def add_views(blueprint: Blueprint) -> None:
    """Attach the view of this module; with and without a slash at its end."""
    for end in ("", "/"):
        blueprint.add_url_rule(f"/internal/user{end}", view_func=answer_about_account, methods=["POST"])


def answer_about_account() -> ResponseReturnValue:
    """Whose credentials these are, or what an account may use, for who knows the secret."""
    provider = current_service().provider
    if provider is None:
        raise NotFoundError("this node answers nobody about its accounts")
    body = request.stream.read(MOST_QUESTION_BYTES + 1)
    status, document = provider.answer(request.headers.get("APISECRET"), body, current_request_id())
    return jsonify(document), status, {"Cache-Control": "no-store"}
