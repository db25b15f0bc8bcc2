"""The options of a ticket, read and checked; what is not offered is refused, not passed over."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from meteorpi_model.documents import as_count, as_text
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject
from meteorpi_server.archive_api.passwords import read_password, wrong_hint
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archiving import OnError
from meteorpi_server.settings import Settings

LAYOUT_FIELDS: Final = frozenset({"camera", "date", "time", "type", "event", "id", "name", "path", "index"})
"""What the template of names can hold."""

_COMMENT_BYTES: Final = 65_535
_NAME_BYTES: Final = 200
_LAYOUT_CHARACTERS: Final = 500
_REFUSED_IN_NAMES: Final = frozenset("\r\n\0")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a ticket is to be like.

    Attributes:
        filename: name of the download, as it was asked for.
        compression: ``store``, ``deflate``, or ``auto`` for what shrinks.
        on_error: what becomes of URLs that fail.
        missing: ``skip``, ``fail`` or ``peer``, for records whose content is not here; None: as the item is.
        manifest: begin with a list of everything; None: if there are records.
        layout: template of the names of entries; None for that of each kind.
        duplicates: ``rename`` or ``fail``.
        ttl: seconds that the link is good.
        max_downloads: complete downloads until it is used up; 0 for any number.
        once: the same as one, and going on with it is possible for a while.
        bind: ``link`` or ``client``.
        publish: also reachable below ``/archive/``, under a name of its own.
        allow_empty: make an archive of nothing rather than refuse it.
        comment: of the archive.
        password: what contents are encrypted with; None for not at all.
        password_hint: for whoever has to remember it; shown to everybody with the link.
    """

    filename: str = "collection.zip"
    compression: str = "store"
    on_error: OnError = OnError.ABORT
    missing: str | None = None
    manifest: bool | None = None
    layout: str | None = None
    duplicates: str = "rename"
    ttl: int
    max_downloads: int = 0
    once: bool = False
    bind: str = "link"
    publish: bool = False
    allow_empty: bool = False
    comment: str = ""
    password: str | None = field(default=None, repr=False)
    password_hint: str = ""

    def as_dict(self) -> JsonObject:
        """As a ticket keeps them; of a password nothing is among them."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "password"}


def read_options(document: Mapping[str, object], settings: Settings) -> Options:
    """The options of a request.

    Raises:
        RefusedRequestError: an option that is unknown, not offered, or has a value that cannot be used; all
            of them are named.
    """
    errors: dict[str, list[str]] = {}
    values: dict[str, Any] = {"ttl": min(settings.archive_ttl, settings.archive_max_ttl)}
    for name, value in document.items():
        try:
            values[name] = _read_option(name, value)
        except InvalidDocumentError as error:
            errors[name] = [error.detail]
    hint = wrong_hint(values.get("password"), values.get("password_hint", ""))
    if hint is not None and not errors:
        errors["password_hint"] = [hint]
    if "ttl" not in errors and values["ttl"] > settings.archive_max_ttl:
        errors["ttl"] = [f"a link can be good for {settings.archive_max_ttl} seconds at most"]
    if errors:
        raise RefusedRequestError({"options": errors})
    return Options(**values)


def _read_option(name: str, value: object) -> object:
    if name not in _READERS:
        raise InvalidDocumentError("unknown option")
    return _READERS[name](value)


def _as_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidDocumentError(f"expected true or false, not {value!r}")
    return value


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidDocumentError(f"must be one of {', '.join(choices)}, not {value!r}")
        return value

    return read


def _on_error(value: object) -> OnError:
    return OnError(_one_of(*OnError)(value))


def _seconds(value: object) -> int:
    seconds = as_count(value)
    if seconds == 0:
        raise InvalidDocumentError("a link has to be good for a second at least")
    return seconds


def _file_name(value: object) -> str:
    name = as_text(value)
    if _REFUSED_IN_NAMES & set(name):
        raise InvalidDocumentError("a name is one line")
    _encoded(name, _NAME_BYTES)
    return name


def _comment(value: object) -> str:
    comment = as_text(value)
    _encoded(comment, _COMMENT_BYTES)
    return comment


def _hint(value: object) -> str:
    hint = as_text(value)
    _encoded(hint, _NAME_BYTES)
    return hint


def _encoded(text: str, most: int) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidDocumentError("the text is not Unicode") from error
    if length > most:
        raise InvalidDocumentError(f"longer than {most} bytes")


def _layout(value: object) -> str:
    """A template with the fields of `LAYOUT_FIELDS`, as plain as it can be: no conversions, no formats."""
    template = as_text(value)
    if not 0 < len(template) <= _LAYOUT_CHARACTERS:
        raise InvalidDocumentError(f"a layout has 1 to {_LAYOUT_CHARACTERS} characters")
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidDocumentError(f"a layout that cannot be read: {error}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in LAYOUT_FIELDS or form or conversion):
            raise InvalidDocumentError(f"a layout has the fields {', '.join(sorted(LAYOUT_FIELDS))}")
    if not any(name in {"name", "id", "index"} for _, name, _, _ in parts):
        raise InvalidDocumentError("a layout has to hold one of name, id and index")
    return template


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "filename": _file_name,
    "compression": _one_of("store", "deflate", "auto"),
    "on_error": _on_error,
    "missing": _one_of("skip", "fail", "peer"),
    "manifest": _as_flag,
    "layout": _layout,
    "duplicates": _one_of("rename", "fail"),
    "ttl": _seconds,
    "max_downloads": as_count,
    "once": _as_flag,
    "bind": _one_of("link", "client"),
    "publish": _as_flag,
    "allow_empty": _as_flag,
    "comment": _comment,
    "password": read_password,
    "password_hint": _hint,
}
