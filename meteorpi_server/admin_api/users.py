"""Accounts: login, passwords, roles, cameras, switching off and deleting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask.typing import ResponseReturnValue

from meteorpi_model import User
from meteorpi_model.documents import as_flag, as_list, as_text, read, require_object
from meteorpi_model.errors import ConflictError, InvalidDocumentError, NotFoundError
from meteorpi_model.values import utc_datetime_to_milliseconds
from meteorpi_server import parsing
from meteorpi_server.admin_api.routes import ADMIN, blueprint
from meteorpi_server.auth import get_user, record_audit, requires_auth
from meteorpi_server.context import current_database
from meteorpi_server.describing import describe

_CAMERAS: Final = {"type": ["array", "null"], "items": {"type": "string"}}
_ACCOUNT: Final = {
    "type": "object",
    "properties": {
        "user": {"$ref": "#/components/schemas/user"},
        "enabled": {"type": "boolean"},
        "cameras": _CAMERAS,
        "created_at": {"type": "integer"},
    },
}


@blueprint.get("/login")
@requires_auth(["user"])
@describe(reply={"user": "user"})
def log_in() -> ResponseReturnValue:
    """Show the account that the credentials belong to; 401 when they are wrong."""
    user = get_user()
    return {"user": None if user is None else user.as_dict()}


@blueprint.get("/users")
@requires_auth(ADMIN)
@describe(reply={"users": ["user"]})
def list_users() -> ResponseReturnValue:
    """List every account, by id."""
    return {"users": [user.as_dict() for user in current_database().get_users()]}


@blueprint.get("/accounts")
@requires_auth(ADMIN)
@describe(reply={"accounts": {"type": "array", "items": _ACCOUNT}})
def list_accounts() -> ResponseReturnValue:
    """List every account with all that is known about it: enabled or not, and its cameras, null for any."""
    return {
        "accounts": [
            {
                "user": account.user.as_dict(),
                "enabled": account.is_enabled,
                "cameras": None if account.cameras is None else list(account.cameras),
                "created_at": utc_datetime_to_milliseconds(account.created_at),
            }
            for account in current_database().get_accounts()
        ]
    }


@blueprint.post("/users")
@requires_auth(ADMIN)
@describe(
    body={"user_id": {"type": "string"}, "password": {"type": "string"}},
    reply={"users": ["user"]},
    problems=[400],
)
def save_user() -> ResponseReturnValue:
    """Create an account with role `user`, or change the password of an existing one."""
    body = parsing.json_body()
    user_id, password = read(body, "user_id", as_text), read(body, "password", as_text)
    done = current_database().create_or_update_user(user_id, password, None)
    record_audit("user.create" if done == "create" else "user.password", user_id)
    return list_users()


@blueprint.put("/users/roles")
@requires_auth(ADMIN)
@describe(
    body={
        "new_roles": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "user_id": {"type": "string"},
                    "roles": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["user_id", "roles"],
            },
        }
    },
    reply={"users": ["user"]},
    problems=[400, 404, 409],
)
def save_roles() -> ResponseReturnValue:
    """Give accounts new roles, all of them or none: one unknown account or role changes nothing."""
    changes = dict(read(parsing.json_body(), "new_roles", as_list(_as_roles)))
    current_database().set_user_roles(changes, actor=_own_id())
    for user_id, roles in changes.items():
        record_audit("user.roles", user_id, ", ".join(roles))
    return list_users()


@blueprint.put("/users/<user_id>/enabled")
@requires_auth(ADMIN)
@describe(body={"enabled": {"type": "boolean"}}, reply={"users": ["user"]}, problems=[400, 404, 409])
def save_user_enabled(user_id: str) -> ResponseReturnValue:
    """Switch an account on or off; switched off, it can do nothing, whatever its roles and tokens."""
    known_id = _known_user(user_id)
    is_enabled = read(parsing.json_body(), "enabled", _as_boolean)
    current_database().set_user_enabled(known_id, is_enabled, actor=_own_id())
    record_audit("user.enable" if is_enabled else "user.disable", known_id)
    return list_users()


@blueprint.get("/users/<user_id>/cameras")
@requires_auth(ADMIN)
@describe(reply={"cameras": _CAMERAS}, problems=[404])
def show_user_cameras(user_id: str) -> ResponseReturnValue:
    """Show the cameras whose data an account may import; null for all."""
    return {"cameras": current_database().get_user_cameras(_known_user(user_id))}


@blueprint.put("/users/<user_id>/cameras")
@requires_auth(ADMIN)
@describe(
    body={"cameras": _CAMERAS},
    reply={"cameras": _CAMERAS},
    problems=[400, 404],
)
def save_user_cameras(user_id: str) -> ResponseReturnValue:
    """Restrict an account to importing data of these cameras; null lifts the restriction."""
    known_id = _known_user(user_id)
    body = parsing.json_body()
    if "cameras" not in body:
        raise InvalidDocumentError("'cameras' is missing; null stands for all", pointer="/cameras")
    cameras = None if body["cameras"] is None else read(body, "cameras", as_list(as_text))
    current_database().set_user_cameras(known_id, cameras)
    record_audit("user.cameras", known_id, "all" if cameras is None else ", ".join(cameras))
    return {"cameras": current_database().get_user_cameras(known_id)}


@blueprint.delete("/users/<user_id>")
@requires_auth(ADMIN)
@describe(reply={"users": ["user"]}, problems=[409])
def delete_user(user_id: str) -> ResponseReturnValue:
    """Delete an account, its id percent-encoded twice; not one's own, and not the last administrator."""
    name = parsing.twice_encoded(user_id, "user id")
    if name == _own_id():
        raise ConflictError("nobody can delete the account they are using", entity_id=name)
    current_database().delete_user(name)
    record_audit("user.delete", name)
    return list_users()


def _own_id() -> str:
    user = get_user()
    return "" if user is None else user.user_id


def _known_user(user_id: str) -> str:
    name = parsing.twice_encoded(user_id, "user id")
    if all(user.user_id != name for user in current_database().get_users()):
        raise NotFoundError("no such account", entity_id=name)
    return name


def _as_roles(value: object) -> tuple[str, list[str]]:
    item: Mapping[str, object] = require_object(value, "a change of roles")
    roles = read(item, "roles", as_list(as_text))
    User.role_mask_from_roles(roles)
    return read(item, "user_id", as_text), roles


def _as_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidDocumentError(f"expected true or false, not {value!r}")
    return as_flag(value)
