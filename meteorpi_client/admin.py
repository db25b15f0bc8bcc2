"""What an administrator may ask a node to do: one method for each admin route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import UUID

from meteorpi_client.addresses import segment, twice_encoded
from meteorpi_client.admin_results import ApiToken, AuditEntry, ExportState
from meteorpi_client.transport import Transport, understood
from meteorpi_model.documents import as_id, as_list, as_text, drop_missing, read, read_optional
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.export import ExportConfiguration
from meteorpi_model.status import CameraStatus, Polygon
from meteorpi_model.users import User
from meteorpi_model.values import JsonObject, utc_datetime_to_milliseconds


class AdminClient:
    """The administrator's half of a `MeteorClient`.

    Every method raises `NotAuthenticatedError` without valid credentials, and `NotAllowedError` when the
    account lacks role ``camera_admin``.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def login(self) -> User:
        """The account that the credentials belong to; needs role ``user`` only."""
        answer = self._transport.get_json("/login")
        return understood(lambda: read(answer, "user", User.from_dict), "/login")

    def get_users(self) -> list[User]:
        """All accounts, by id."""
        return self._users("GET", "/users")

    def create_or_update_user(self, user_id: str, password: str) -> list[User]:
        """Create an account with role ``user``, or change the password of an existing one."""
        return self._users("POST", "/users", {"user_id": user_id, "password": password})

    def set_roles(self, roles: Mapping[str, Iterable[str]]) -> list[User]:
        """Replace the roles of the accounts that are keys of `roles`; all of them or none.

        Raises:
            InvalidDocumentError: unknown role.
            NotFoundError: unknown account.
            ConflictError: nobody would be left who can administrate.
        """
        changes = [{"user_id": user_id, "roles": list(names)} for user_id, names in roles.items()]
        return self._users("PUT", "/users/roles", {"new_roles": changes})

    def delete_user(self, user_id: str) -> list[User]:
        """Delete an account; an unknown one is no error."""
        return self._users("DELETE", f"/users/{twice_encoded(user_id)}")

    def get_exports(self) -> list[ExportConfiguration]:
        """All export configurations, newest first, without their passwords."""
        answer = self._transport.get_json("/export")
        return understood(lambda: read(answer, "configs", as_list(ExportConfiguration.from_dict)), "/export")

    def get_export(self, config_id: UUID) -> ExportConfiguration | None:
        """One export configuration without its password, or None."""
        try:
            return self._config("GET", f"/export/{config_id.hex}")
        except NotFoundError:
            return None

    def create_export(
        self,
        kind: Literal["file", "event"],
        target_url: str,
        user_id: str,
        password: str,
        name: str,
        description: str = "",
    ) -> ExportConfiguration:
        """Store a disabled configuration that exports everything of one kind; `update_export` changes it."""
        document: JsonObject = {
            "type": kind,
            "target_url": target_url,
            "user_id": user_id,
            "password": password,
            "name": name,
            "description": description,
        }
        return self._config("POST", "/export", document)

    def update_export(self, config: ExportConfiguration) -> None:
        """Replace a stored configuration; a password of None leaves the stored one.

        Raises:
            InvalidDocumentError: it has no id.
            NotFoundError: the node does not know the id.
        """
        if config.config_id is None:
            raise InvalidDocumentError("an export configuration without id cannot be updated; create it")
        self._transport.send_json("PUT", f"/export/{config.config_id.hex}", config.as_dict())

    def delete_export(self, config_id: UUID) -> None:
        """Delete a configuration and its tasks; an unknown one is no error."""
        self._transport.send_json("DELETE", f"/export/{config_id.hex}")

    def update_camera_status(
        self, camera_id: str, inst_name: str | None, inst_url: str | None, regions: list[Polygon]
    ) -> CameraStatus:
        """Give a camera a new status from now on, like the present one but for these three.

        Raises:
            NotFoundError: the camera has no status.
        """
        path = f"/cameras/{segment(camera_id)}/status"
        document: JsonObject = {"inst_name": inst_name, "inst_url": inst_url, "regions": regions}
        answer = self._transport.send_json("POST", path, document)
        return understood(lambda: read(answer, "status", CameraStatus.from_dict), path)

    def set_enabled(self, user_id: str, is_enabled: bool) -> list[User]:
        """Switch an account on or off; switched off it can do nothing, whatever its roles and tokens.

        Raises:
            NotFoundError: unknown account.
            ConflictError: nobody would be left who can administrate.
        """
        path = f"/users/{twice_encoded(user_id)}/enabled"
        return self._users("PUT", path, {"enabled": is_enabled})

    def get_user_cameras(self, user_id: str) -> list[str] | None:
        """The cameras whose data an account may import; None for any."""
        return self._cameras("GET", user_id)

    def set_user_cameras(self, user_id: str, camera_ids: Iterable[str] | None) -> list[str] | None:
        """Restrict an account to importing data of these cameras; None lifts the restriction."""
        return self._cameras("PUT", user_id, {"cameras": None if camera_ids is None else list(camera_ids)})

    def get_export_states(self) -> list[ExportState]:
        """How each export configuration is doing."""
        answer = self._transport.get_json("/export/states")
        return understood(lambda: read(answer, "states", as_list(ExportState.from_dict)), "/export/states")

    def resume_export(self, config_id: UUID) -> ExportState:
        """Enable a configuration again after failures, and make its tasks due now.

        Raises:
            NotFoundError: the node does not know the id.
        """
        path = f"/export/{config_id.hex}/resume"
        answer = self._transport.send_json("POST", path)
        return understood(lambda: read(answer, "state", ExportState.from_dict), path)

    def get_tokens(self) -> list[ApiToken]:
        """All API tokens, without their secrets."""
        return self._tokens("GET", "/tokens")

    def create_token(
        self, user_id: str, name: str, roles: Iterable[str] | None = None, expires_at: datetime | None = None
    ) -> tuple[UUID, str]:
        """Make a token for an account.

        Args:
            user_id: the account.
            name: for people.
            roles: some of the account's roles; None for all.
            expires_at: UTC; None for never.

        Returns:
            Its id, and its secret, which cannot be had again.
        """
        document = drop_missing(
            {
                "user_id": user_id,
                "name": name,
                "roles": None if roles is None else list(roles),
                "expires_at": utc_datetime_to_milliseconds(expires_at),
            }
        )
        answer = self._transport.send_json("POST", "/tokens", document)
        return understood(
            lambda: (read(answer, "token_id", as_id), read(answer, "secret", as_text)), "/tokens"
        )

    def revoke_token(self, token_id: UUID) -> list[ApiToken]:
        """Make a token useless from now on; an unknown one is no error."""
        return self._tokens("DELETE", f"/tokens/{token_id.hex}")

    def iterate_audit_log(self, page_size: int = 100) -> Iterator[AuditEntry]:
        """What was changed, newest first, page by page."""
        before = ""
        while True:
            path = f"/audit?limit={page_size}{before}"
            answer = self._transport.get_json(path)
            entries = understood(partial(read, answer, "entries", as_list(AuditEntry.from_dict)), path)
            yield from entries
            if not entries:
                return
            before = f"&before={entries[-1].entry_id}"

    def _cameras(self, method: str, user_id: str, document: JsonObject | None = None) -> list[str] | None:
        path = f"/users/{twice_encoded(user_id)}/cameras"
        answer = self._transport.send_json(method, path, document)
        return understood(lambda: read_optional(answer, "cameras", as_list(as_text)), path)

    def _tokens(self, method: str, path: str) -> list[ApiToken]:
        answer = self._transport.send_json(method, path)
        return understood(lambda: read(answer, "tokens", as_list(ApiToken.from_dict)), path)

    def _users(self, method: str, path: str, document: JsonObject | None = None) -> list[User]:
        answer = self._transport.send_json(method, path, document)
        return understood(lambda: read(answer, "users", as_list(User.from_dict)), path)

    def _config(self, method: str, path: str, document: JsonObject | None = None) -> ExportConfiguration:
        answer = self._transport.send_json(method, path, document)
        return understood(lambda: read(answer, "config", ExportConfiguration.from_dict), path)
