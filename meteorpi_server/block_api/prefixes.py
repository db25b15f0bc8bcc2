"""Views of prefixes and of what an account uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from meteorpi_db.blocks.changes import Terms
from meteorpi_db.blocks.directory import LOCAL
from meteorpi_db.blocks.names import checked_prefix
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server import auth, parsing
from meteorpi_server.block_api.current import current_service, needs_account
from meteorpi_server.block_api.prefix_changes import read_changes
from meteorpi_server.block_api.service import BlockService, account_key

ADMINISTRATOR: Final = "camera_admin"


def add_views(blueprint: Blueprint) -> None:
    """Attach the views of this module; with and without a slash at their ends, as published clients vary."""
    for view in (list_prefixes, create_prefix, delete_prefix, change_prefix, show_quota):
        needs_account(view)
    blueprint.add_url_rule("/prefix/<prefix>", view_func=delete_prefix, methods=["DELETE"])
    blueprint.add_url_rule("/prefix/<prefix>", view_func=change_prefix, methods=["PATCH"])
    for end in ("", "/"):
        blueprint.add_url_rule(f"/prefix{end}", view_func=list_prefixes, methods=["GET"])
        blueprint.add_url_rule(f"/prefix{end}", view_func=create_prefix, methods=["POST"])
        blueprint.add_url_rule(f"/quota{end}", view_func=show_quota, methods=["GET"])


def list_prefixes() -> ResponseReturnValue:
    """Names of the prefixes of the account."""
    service = current_service()
    found = service.register.prefixes_of(account_key(service.caller()))
    return jsonify(prefixes=[each.name for each in found])


def create_prefix() -> ResponseReturnValue:
    """A new prefix; its name is the answer."""
    service = current_service()
    account = service.caller()
    most = service.settings.block_max_prefixes
    made = service.register.create_prefix(account_key(account), account.source, most)
    return jsonify(prefix=made.name), 201


def delete_prefix(prefix: str) -> ResponseReturnValue:
    """Remove a prefix: without objects, or, for ``?recursive=1``, with all of them in the background."""
    service = current_service()
    checked_prefix(prefix)
    terms = service.terms_of(service.caller())
    if not _is_recursive():
        service.register.delete_prefix(prefix, terms)
        return Response(status=204)
    has_objects = service.register.begin_leaving(prefix, terms)
    service.leaving.hurry()
    return Response(status=202 if has_objects else 204)


def _is_recursive() -> bool:
    """Whether everything below is to go as well; nothing but a plain yes removes anything."""
    text = request.args.get("recursive", "0")
    if text not in ("0", "1"):
        raise InvalidDocumentError("recursive is 0 or 1", pointer="/recursive")
    return text == "1"


def change_prefix(prefix: str) -> ResponseReturnValue:
    """Change label, read policy, quota; begin append-only, which an administrator can end."""
    service = current_service()
    terms = _terms_of_owner_or_administrator(service)
    changes = read_changes(parsing.json_body(), is_administrator=terms.is_administrator)
    place = service.register.change_prefix(checked_prefix(prefix), terms, changes)
    if terms.is_administrator:
        auth.record_audit("block-prefix.change", prefix, ", ".join(sorted(changes)))
    return jsonify(
        prefix=place.name,
        label=place.label,
        read_policy=place.read_policy,
        append_only=place.is_append_only,
        quota=place.quota,
        size=place.used,
    )


def show_quota() -> ResponseReturnValue:
    """What the account may use, and uses."""
    service = current_service()
    account = service.caller()
    key, month = account_key(account), service.register.this_month()
    return jsonify(
        quota=account.quota_bytes,
        size=service.register.used_by(key),
        traffic_quota=account.monthly_traffic_bytes,
        traffic=service.traffic.sent_by(key),
        month=f"{month // 100:04}-{month % 100:02}",
        prefixes={each.name: each.used for each in service.register.prefixes_of(key)},
    )


def _terms_of_owner_or_administrator(service: BlockService) -> Terms:
    """Administrators are users of the node: with a password, or with one of its API tokens.

    Raises:
        NotAuthenticatedError, NotAllowedError: it is neither.
    """
    kind = None if request.authorization is None else request.authorization.type
    if kind == "bearer":
        auth.authorise((ADMINISTRATOR,))
        return Terms(account_id=None, is_administrator=True)
    terms = service.terms_of(service.caller())
    if kind != "basic" or service.accounts.name != LOCAL:
        return terms
    identity = auth.identify()  # the password was right, which is remembered for a while
    is_administrator = identity is not None and identity.user.has_role(ADMINISTRATOR)
    return replace(terms, is_administrator=is_administrator)
