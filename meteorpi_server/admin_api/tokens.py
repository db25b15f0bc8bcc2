"""API tokens: credentials for programs, limited to some roles, revocable one by one."""

from __future__ import annotations

from typing import Final

from flask.typing import ResponseReturnValue

from meteorpi_db import ApiToken
from meteorpi_model import User
from meteorpi_model.documents import as_list, as_text, as_time, drop_missing, read, read_optional
from meteorpi_model.errors import NotFoundError
from meteorpi_model.values import JsonObject, utc_datetime_to_milliseconds
from meteorpi_server import parsing
from meteorpi_server.admin_api.routes import ADMIN, blueprint
from meteorpi_server.auth import record_audit, requires_auth
from meteorpi_server.context import current_database
from meteorpi_server.describing import describe

_TOKEN: Final = {
    "type": "object",
    "properties": {
        "token_id": {"type": "string"},
        "user_id": {"type": "string"},
        "name": {"type": "string"},
        "roles": {"type": "array", "items": {"type": "string"}},
        "created_at": {"type": "integer"},
        "expires_at": {"type": "integer"},
        "last_used_at": {"type": "integer"},
    },
}


@blueprint.get("/tokens")
@requires_auth(ADMIN)
@describe(reply={"tokens": {"type": "array", "items": _TOKEN}})
def list_tokens() -> ResponseReturnValue:
    """List every API token; their secrets are not kept."""
    return {"tokens": [_document(token) for token in current_database().get_api_tokens()]}


@blueprint.post("/tokens")
@requires_auth(ADMIN)
@describe(
    body={
        "user_id": {"type": "string"},
        "name": {"type": "string"},
        "roles": {"type": "array", "items": {"type": "string"}},
        "expires_at": {"type": "integer"},
    },
    reply={"token_id": {"type": "string"}, "secret": {"type": "string"}},
    problems=[400, 404],
)
def create_token() -> ResponseReturnValue:
    """Create an API token of an account, with some of its roles; the secret is shown this once."""
    body = parsing.json_body()
    user_id = read(body, "user_id", as_text)
    name = read(body, "name", as_text)
    roles = read_optional(body, "roles", as_list(as_text))
    User.role_mask_from_roles(roles)
    db = current_database()
    if all(user.user_id != user_id for user in db.get_users()):
        raise NotFoundError("no such account", entity_id=user_id)
    expires = read_optional(body, "expires_at", as_time)
    token_id, secret = db.create_api_token(user_id, name, roles=roles, expires=expires)
    record_audit("token.create", user_id, f"{name} ({token_id.hex})")
    return {"token_id": token_id.hex, "secret": secret}


@blueprint.delete("/tokens/<token_id>")
@requires_auth(ADMIN)
@describe(reply={"tokens": {"type": "array", "items": _TOKEN}}, problems=[400])
def revoke_token(token_id: str) -> ResponseReturnValue:
    """Revoke an API token from now on; no error when there is none."""
    found_id = parsing.hex_id(token_id)
    current_database().revoke_api_token(found_id)
    record_audit("token.revoke", found_id.hex)
    return list_tokens()


def _document(token: ApiToken) -> JsonObject:
    return drop_missing(
        {
            "token_id": token.token_id.hex,
            "user_id": token.user_id,
            "name": token.name,
            "roles": list(token.roles),
            "created_at": utc_datetime_to_milliseconds(token.created_at),
            "expires_at": utc_datetime_to_milliseconds(token.expires_at),
            "last_used_at": utc_datetime_to_milliseconds(token.last_used_at),
        }
    )
