"""What an administrator may ask a node to do: one method for each admin route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal
from uuid import UUID

from meteorpi_client.addresses import segment, twice_encoded
from meteorpi_client.transport import Transport, understood
from meteorpi_model.documents import as_list, read
from meteorpi_model.errors import InvalidDocumentError, NotFoundError
from meteorpi_model.export import ExportConfiguration
from meteorpi_model.status import CameraStatus, Polygon
from meteorpi_model.users import User
from meteorpi_model.values import JsonObject


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

    def _users(self, method: str, path: str, document: JsonObject | None = None) -> list[User]:
        answer = self._transport.send_json(method, path, document)
        return understood(lambda: read(answer, "users", as_list(User.from_dict)), path)

    def _config(self, method: str, path: str, document: JsonObject | None = None) -> ExportConfiguration:
        answer = self._transport.send_json(method, path, document)
        return understood(lambda: read(answer, "config", ExportConfiguration.from_dict), path)
