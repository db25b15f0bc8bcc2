"""What the owner of a prefix may change of it, read from a document.

Source: the table of routes in part C, K-207, K-212 and K-230 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from meteorpi_db import limits
from meteorpi_db.tables import NAME_LENGTH
from meteorpi_model.errors import InvalidDocumentError, NotAllowedError

POLICIES: Final = ("public", "account", "owner", "link")
_MOST_BYTES: Final = 1 << 62


def read_changes(document: Mapping[str, object], *, is_administrator: bool = False) -> dict[str, object]:
    """The columns that a document names, with their new values.

    Args:
        is_administrator: of the node, who alone can end append-only.

    Raises:
        InvalidDocumentError: a member is unknown, or its value is none of those it may have.
        NotAllowedError: it would end append-only, which an administrator alone can.
    """
    for name in document:
        if name not in _READERS:
            raise InvalidDocumentError(f"nothing of a prefix is called {name}", pointer=f"/{name}")
    if document.get("append_only") is False and not is_administrator:
        raise NotAllowedError("only an administrator can end append-only")
    return {_COLUMNS.get(name, name): _READERS[name](value) for name, value in document.items()}


def _label(value: object) -> object:
    return limits.checked_text(value, "label", NAME_LENGTH, may_be_empty=True)


def _read_policy(value: object) -> object:
    if value is not None and value not in POLICIES:
        raise InvalidDocumentError(f"one of {', '.join(POLICIES)}, or null", pointer="/read_policy")
    return value


def _append_only(value: object) -> object:
    if not isinstance(value, bool):
        raise InvalidDocumentError("append_only is true or false", pointer="/append_only")
    return value


def _quota(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES
    if value is not None and not is_number:
        raise InvalidDocumentError("a number of bytes, or null for no limit", pointer="/quota")
    return value


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "label": _label,
    "read_policy": _read_policy,
    "append_only": _append_only,
    "quota": _quota,
}
_COLUMNS: Final = {"append_only": "is_append_only"}
