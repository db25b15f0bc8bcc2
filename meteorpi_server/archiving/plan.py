"""Plans: the frozen, ordered list of the entries of an archive, and the bytes that a ticket keeps of it."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

from meteorpi_model.errors import InvalidDocumentError
from meteorpi_server.archiving import zip_format
from meteorpi_server.archiving.entries import NO_DETAILS, Entry, Form
from meteorpi_server.archiving.zip_layout import ZipLayout

__all__ = ["Entry", "Form", "OnError", "Plan"]

_MAGIC: Final = b"MPA2"
_ETAG_DIGITS: Final = 40
_FORMS: Final = {form.value: form for form in Form}


class OnError(StrEnum):
    """What becomes of an archive whose source fails; see section 3.12 of the archive contract.

    Attributes:
        ABORT: the download is cut.
        SKIP: what fails before its first byte is left out and listed in the report.
        PARTIAL: as SKIP, and what fails in its middle ends early and is listed.
    """

    ABORT = "abort"
    SKIP = "skip"
    PARTIAL = "partial"


@dataclass(frozen=True)
class Plan:
    """All that decides the bytes of an archive.

    Attributes:
        entries: in order.
        comment: of the archive, at most 65,535 bytes.
        on_error: what becomes of URLs that fail; but for ABORT, a plan with URLs has no length beforehand.
        kept_etag: the tag, where it was found when the plan was made.
    """

    entries: tuple[Entry, ...]
    comment: bytes = b""
    on_error: OnError = OnError.ABORT
    kept_etag: str | None = field(default=None, compare=False, repr=False)

    @cached_property
    def is_sized(self) -> bool:
        """Whether the length of the archive is known."""
        if self.on_error is not OnError.ABORT and any(entry.kind == "url" for entry in self.entries):
            return False
        return all(zip_format.stored_size(entry) is not None for entry in self.entries)

    @cached_property
    def is_resumable(self) -> bool:
        """Whether every byte of the archive can be made again, and alone; not so under a password."""
        is_known = self.is_sized and all(entry.crc is not None for entry in self.entries)
        return is_known and not self.is_encrypted

    @cached_property
    def is_encrypted(self) -> bool:
        """Whether a password is needed to send it: then salts are new each time."""
        forms = list(map(attrgetter("form"), self.entries))
        return Form.ENCRYPTED in forms or Form.ENCRYPTED_STREAMED in forms

    @property
    def total_bytes(self) -> int | None:
        """Bytes of the archive, None when not known."""
        return self.layout.total if self.is_sized else None

    @cached_property
    def layout(self) -> ZipLayout:
        """Where every byte is.

        Raises:
            InvalidDocumentError: the plan is not sized.
        """
        return ZipLayout(self.entries, self.comment)

    @cached_property
    def etag(self) -> str | None:
        """40 hexadecimal digits, the same if and only if the bytes are; None unless resumable.

        The directory of an archive says all that decides its bytes, but for the encoder of deflated bodies.
        """
        if self.kept_etag is not None or not self.is_resumable:
            return self.kept_etag
        digest = hashlib.sha256(b"meteorpi archive layout %d\0" % zip_format.LAYOUT_VERSION)
        for piece in self.layout.pieces(self.layout.directory_start):
            digest.update(piece)  # type: ignore[arg-type]  # behind the contents there are no slices
        for entry in self.entries:
            if entry.form is Form.DEFLATED:
                digest.update(f"\0{entry.details.get('encoder', '')}".encode())
        return digest.hexdigest()[:_ETAG_DIGITS]

    @cached_property
    def newest(self) -> int:
        """The latest time of an entry, seconds since 1970, UTC; 0 for a plan without entries."""
        return max((entry.mtime for entry in self.entries), default=0)

    def with_crcs(self, crcs: Mapping[int, int]) -> Plan:
        """The same plan, of the same layout, with the CRC-32 of entries that a pass has found, by index."""
        entries = (
            replace(entry, crc=crcs[index]) if index in crcs else entry
            for index, entry in enumerate(self.entries)
        )
        return Plan(tuple(entries), self.comment, self.on_error)

    def to_bytes(self) -> bytes:
        """The plan in a compact form that :meth:`from_bytes` reads."""
        columns: list[list[Any]] = [
            [entry.name for entry in self.entries],
            [entry.kind for entry in self.entries],
            [entry.reference for entry in self.entries],
            [entry.size for entry in self.entries],
            [entry.crc for entry in self.entries],
            [entry.mtime for entry in self.entries],
            [entry.form.value for entry in self.entries],
            [entry.stored_size for entry in self.entries],
            [base64.b64encode(entry.body).decode() if entry.body else "" for entry in self.entries],
            [dict(entry.details) if entry.details else None for entry in self.entries],
        ]
        columns = [_once(column) for column in columns]
        head = {
            "entries": len(self.entries),
            "comment": base64.b64encode(self.comment).decode(),
            "on_error": self.on_error.value,
            "layout": zip_format.LAYOUT_VERSION,
            "etag": self.etag,
        }
        text = json.dumps([head, columns], separators=(",", ":"))
        return _MAGIC + zlib.compress(text.encode(), 1)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Plan:
        """The plan that :meth:`to_bytes` gave.

        Raises:
            InvalidDocumentError: the bytes are of another version, or no plan.
        """
        if not stored.startswith(_MAGIC):
            raise InvalidDocumentError("these bytes are no plan of an archive of this version")
        try:
            head, columns = json.loads(zlib.decompress(stored[len(_MAGIC) :]))
            entries = tuple(map(_entry, *(_each(column, head["entries"]) for column in columns)))
            # Of another layout the bytes are others, and so is the tag.
            etag = head["etag"] if head["layout"] == zip_format.LAYOUT_VERSION else None
            return cls(entries, base64.b64decode(head["comment"]), OnError(head["on_error"]), etag)
        except (zlib.error, ValueError, TypeError, KeyError) as error:
            raise InvalidDocumentError("the plan of an archive is damaged") from error


def _once(column: list[Any]) -> list[Any]:
    """A column that has the same value in every place, as many have, as that value alone."""
    return column[:1] if len(column) > 1 and column.count(column[0]) == len(column) else column


def _each(column: list[Any], count: int) -> Iterable[Any]:
    """The column that :func:`_once` was given.

    Raises:
        ValueError: it is of another length.
    """
    if len(column) == 1:
        return repeat(column[0], count)
    if len(column) != count:
        raise ValueError("the columns of a plan differ in length")
    return column


def _entry(
    name: str,
    kind: str,
    reference: str,
    size: int | None,
    crc: int | None,
    mtime: int,
    form: str,
    stored_size: int | None,
    body: str,
    details: dict[str, object] | None,
) -> Entry:
    # Nearly always there is no body, and a member of an enumeration is found faster by name than made.
    return Entry(
        name=name,
        kind=kind,
        reference=reference,
        size=size,
        crc=crc,
        mtime=mtime,
        form=_FORMS[form],
        stored_size=stored_size,
        body=base64.b64decode(body) if body else b"",
        details=details or NO_DETAILS,
    )
