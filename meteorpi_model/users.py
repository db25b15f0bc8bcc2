"""Accounts and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from meteorpi_model.documents import as_count, as_text, read, require_object
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject, ModelEqualityMixin


class User(ModelEqualityMixin):
    """An account.

    Attributes:
        roles: every role there is; its position is its bit in the mask, so new ones are only appended.
            ``user`` may log in, ``camera_admin`` may use every admin route, ``import`` may push data.
        user_id: name of the account, up to 40 characters.
        role_mask: one bit for each role held.
    """

    roles: ClassVar[list[str]] = ["user", "camera_admin", "import"]

    def __init__(self, user_id: str, role_mask: int) -> None:
        self.user_id = user_id
        self.role_mask = role_mask

    def has_role(self, name: str) -> bool:
        """Whether the account holds role `name`; False for roles that do not exist."""
        return name in self.get_roles()

    def get_roles(self) -> list[str]:
        """Names of the roles held, in bit order."""
        return self.roles_from_role_mask(self.role_mask)

    @staticmethod
    def role_mask_from_roles(roles: Iterable[str] | None) -> int:
        """The mask of `roles`; None gives 0.

        Raises:
            InvalidDocumentError: one of them does not exist.
        """
        if isinstance(roles, str):
            raise InvalidDocumentError(f"roles must be a list of names, not the text {roles!r}")
        mask = 0
        for role in roles or ():
            if role not in User.roles:
                raise InvalidDocumentError(f"unknown role {role!r}; the roles are {', '.join(User.roles)}")
            mask |= 1 << User.roles.index(role)
        return mask

    @staticmethod
    def roles_from_role_mask(role_mask: int) -> list[str]:
        """Names of the roles in `role_mask`, in bit order; bits without a role are passed over."""
        return [role for bit, role in enumerate(User.roles) if role_mask >> bit & 1]

    def as_dict(self) -> JsonObject:
        """``{'user_id', 'role_mask', 'roles'}``."""
        return {"user_id": self.user_id, "role_mask": self.role_mask, "roles": self.get_roles()}

    @staticmethod
    def from_dict(d: object) -> User:
        """Read the form given by :meth:`as_dict`; ``roles`` is not looked at."""
        document = require_object(d, "a user")
        return User(
            user_id=read(document, "user_id", as_text), role_mask=read(document, "role_mask", as_count)
        )

    def __repr__(self) -> str:
        return f"User({self.user_id!r}, {self.get_roles()})"
