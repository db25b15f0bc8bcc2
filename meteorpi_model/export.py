"""What a node pushes, and where to."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from meteorpi_model.documents import (
    as_flag,
    as_id,
    as_text,
    drop_missing,
    read,
    read_optional,
    require_object,
)
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.search import EventSearch, FileRecordSearch
from meteorpi_model.values import JsonObject, ModelEqualityMixin


class ExportConfiguration(ModelEqualityMixin):
    """A standing order: push whatever matches a search to one import route.

    Attributes:
        target_url: complete URL of the import route of the receiver, such as ``http://host/import``.
        user_id, password: account on the receiver; it needs role ``import``. The password is None where
            it must not be shown, and None on an update leaves the stored one as it is.
        search: what to push.
        name, description: for people.
        enabled: False stops both marking and sending.
        config_id: identity; None before it is stored.
        type: ``'file'`` or ``'event'``, from the search.

    Raises:
        InvalidDocumentError: `search` is neither kind of search (a ``ValueError``).
    """

    def __init__(
        self,
        target_url: str,
        user_id: str,
        password: str | None,
        search: FileRecordSearch | EventSearch,
        name: str,
        description: str,
        enabled: bool = False,
        config_id: UUID | None = None,
    ) -> None:
        self.type = _type_of(search)
        self.target_url = target_url
        self.user_id = user_id
        self.password = password
        self.search = search
        self.name = name
        self.description = description
        self.enabled = enabled
        self.config_id = config_id

    def as_dict(self) -> JsonObject:
        """The wire form, password included when it is known."""
        return drop_missing(
            {
                "type": self.type,
                "config_id": None if self.config_id is None else self.config_id.hex,
                "target_url": self.target_url,
                "user_id": self.user_id,
                "password": self.password,
                "search": self.search.as_dict(),
                "config_name": self.name,
                "config_description": self.description,
                "enabled": self.enabled,
            }
        )

    @staticmethod
    def from_dict(d: object) -> ExportConfiguration:
        """Read the wire form; an absent password is None."""
        document = require_object(d, "an export configuration")
        kind = read(document, "type", as_text)
        search: FileRecordSearch | EventSearch
        if kind == "file":
            search = read(document, "search", FileRecordSearch.from_dict)
        elif kind == "event":
            search = read(document, "search", EventSearch.from_dict)
        else:
            raise InvalidDocumentError(f"type must be 'file' or 'event', not {kind!r}", pointer="/type")
        return ExportConfiguration(
            target_url=read(document, "target_url", as_text),
            user_id=read(document, "user_id", as_text),
            password=read_optional(document, "password", as_text),
            search=search,
            name=read(document, "config_name", as_text),
            description=read(document, "config_description", as_text),
            enabled=read_optional(document, "enabled", as_flag) or False,
            config_id=read_optional(document, "config_id", as_id),
        )

    def __repr__(self) -> str:
        config_id = "unsaved" if self.config_id is None else self.config_id.hex
        return (
            f"ExportConfiguration({config_id}, {self.type} to {self.target_url} as {self.user_id!r}, "
            f"name={self.name!r}, enabled={self.enabled}, {self.search})"
        )


def _type_of(search: object) -> Literal["file", "event"]:
    if isinstance(search, FileRecordSearch):
        return "file"
    if isinstance(search, EventSearch):
        return "event"
    raise InvalidDocumentError(
        f"an export needs a FileRecordSearch or an EventSearch, not {type(search).__name__}"
    )
