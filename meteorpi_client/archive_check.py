"""Is an archive whole, and does it hold what its manifest says?

Two questions with two answers. *Damage* is what any reader of zip files would meet: a cut, a wrong checksum,
a name that leads out of the folder; fetching again may cure it. *Differences* are between the entries and
``MANIFEST.json``; the archive was made so.

Source: sections 3.12, 3.17 and 4 of the contract of archives; APPNOTE 6.3.10 for the zip format.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from meteorpi_client import encrypted_entries
from meteorpi_client.archive_report import ArchiveReport, Finding
from meteorpi_client.encrypted_entries import UnreadableEntryError
from meteorpi_model.documents import as_count, as_list, as_text, read, read_optional, require_object
from meteorpi_model.errors import InvalidDocumentError

MANIFEST_NAME: Final = "MANIFEST.json"
MANIFEST_FORMAT: Final = "meteorpi-archive-manifest"
MANIFEST_VERSION: Final = 1
MAX_DOCUMENT_BYTES: Final = 256 * 2**20
"""A longer manifest is not read; 200 000 entries take about 80 MB."""

_ERRORS_NAME = re.compile(r"_ERRORS( \(\d+\))?\.json")
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 1
# All that the standard library raises for a file that is not as it should be.
_DAMAGE = (BadZipFile, zlib.error, EOFError, struct.error, ValueError, OverflowError, NotImplementedError)


@dataclass(frozen=True)
class _Content:
    """Size and digests of an entry, as read, or as the manifest says (None: it does not)."""

    size: int | None
    crc32: int | None
    md5: str | None


def check_archive(
    path: Path,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    password: str | None = None,
) -> ArchiveReport:
    """Read every byte of the archive at `path`.

    Args:
        path: of the file.
        progress: told the bytes of contents that were read, and how many there are.
        password: of the archive, if it has one.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with (
            _impossible_places_as_damage(),
            path.open("rb") as stream,
            ZipFile(stream) as archive,
        ):
            return _Check(archive, stream, progress, password).run()
    except _DAMAGE as error:
        return ArchiveReport(damage=[Finding("", f"not a whole zip archive: {error}")])


@contextmanager
def _impossible_places_as_damage() -> Iterator[None]:
    """The standard library goes to whatever place a header names; the system refuses some of them."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise BadZipFile("a header names a place that there is not") from error


class _Check:
    """One archive being read."""

    def __init__(
        self,
        archive: ZipFile,
        stream: BinaryIO,
        progress: Callable[[int, int | None], None] | None,
        password: str | None,
    ) -> None:
        self._archive = archive
        self._stream = stream
        self._progress = progress
        self._password = password
        self._unread: list[Finding] = []
        self._infos = [info for info in archive.infolist() if not info.is_dir()]
        self._total = sum(info.file_size for info in self._infos)
        self._size = 0
        self._damage: list[Finding] = []

    def run(self) -> ArchiveReport:
        """Read everything, then compare."""
        self._check_names()
        contents = dict(self._contents())
        failed = self._failed(contents)
        manifest = self._manifest(contents)
        differences: list[Finding] = []
        left_out: list[Finding] = []
        if manifest is not None:
            try:
                left_out = read_optional(manifest, "skipped", as_list(_finding)) or []
                differences = list(
                    _differences(_expected(manifest), contents, {item.name for item in failed})
                )
            except InvalidDocumentError as error:
                detail = f"cannot be used: {error.detail} at {error.pointer or '/'}"
                differences = [Finding(MANIFEST_NAME, detail)]
        return ArchiveReport(
            entries=len(contents),
            size_bytes=self._size,
            has_manifest=manifest is not None,
            damage=self._damage,
            differences=differences,
            failed=failed,
            left_out=left_out,
            unread=self._unread,
        )

    def _check_names(self) -> None:
        seen: set[str] = set()
        for info in self._archive.infolist():
            name = info.orig_filename
            if _leads_out(name):
                self._damage.append(Finding(name, "its name leads out of the folder"))
            if name.casefold() in seen:
                self._damage.append(Finding(name, "another entry has the same name"))
            seen.add(name.casefold())

    def _contents(self) -> Iterator[tuple[str, _Content]]:
        """Every entry that can be read, with what was read."""
        for info in self._infos:
            try:
                with _impossible_places_as_damage():
                    content = self._read(info)
                yield info.filename, content
            except UnreadableEntryError as error:
                self._unread.append(Finding(info.filename, error.detail))
            except _DAMAGE as error:
                self._damage.append(Finding(info.filename, str(error) or type(error).__name__))

    def _read(self, info: ZipInfo) -> _Content:
        is_encrypted = bool(info.flag_bits & _ENCRYPTED)
        size, md5 = 0, hashlib.md5(usedforsecurity=False)
        crc = 0 if is_encrypted else info.CRC  # which has been compared when the end is reached
        for chunk in self._chunks(info):
            size += len(chunk)
            md5.update(chunk)
            if is_encrypted:
                crc = zlib.crc32(chunk, crc)
            self._size += len(chunk)
            if self._progress is not None:
                self._progress(self._size, self._total)
        if size != info.file_size:
            raise BadZipFile(f"it has {size} bytes, not {info.file_size}")
        return _Content(size, crc, md5.hexdigest())

    def _chunks(self, info: ZipInfo) -> Iterator[bytes]:
        if info.flag_bits & _ENCRYPTED:
            if info.compress_type != encrypted_entries.METHOD:
                raise BadZipFile("it is encrypted in a way that nodes do not use, and cannot be checked")
            yield from encrypted_entries.decrypted(self._stream, info, self._password)
            return
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise BadZipFile(f"method {info.compress_type} is not used by nodes, and cannot be checked")
        with self._archive.open(info) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk

    def _manifest(self, contents: Mapping[str, _Content]) -> Mapping[str, object] | None:
        """The manifest; None when there is none, or a file of some directory only has its name."""
        document = self._document(MANIFEST_NAME, contents)
        return document if document is not None and document.get("format") == MANIFEST_FORMAT else None

    def _failed(self, contents: Mapping[str, _Content]) -> list[Finding]:
        """What the last entry lists, where it is a report of failures."""
        last = self._infos[-1].filename if self._infos else ""
        document = self._document(last, contents) if _ERRORS_NAME.fullmatch(last) else None
        try:
            return [] if document is None else read(document, "errors", as_list(_finding))
        except InvalidDocumentError:
            return []  # a file that only has the name

    def _document(self, name: str, contents: Mapping[str, _Content]) -> Mapping[str, object] | None:
        """The JSON object that the entry `name` is; None when it is none, or none that could be read."""
        if name not in contents or (contents[name].size or 0) > MAX_DOCUMENT_BYTES:
            return None
        text = b"".join(self._chunks(self._archive.getinfo(name)))
        try:
            return require_object(json.loads(text), name)
        except (ValueError, RecursionError):
            return None


def _leads_out(name: str) -> bool:
    return (
        name.startswith(("/", "\\"))
        or "\0" in name
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or name[1:2] == ":"
    )


def _expected(manifest: Mapping[str, object]) -> dict[str, _Content]:
    """What the manifest says about each entry."""

    def entry(value: object) -> tuple[str, _Content]:
        row = require_object(value, "an entry")
        content = _Content(
            read_optional(row, "size", as_count), read_optional(row, "crc32", _as_crc), _md5_of(row)
        )
        return read(row, "name", as_text), content

    version = read(manifest, "version", as_count)
    if version != MANIFEST_VERSION:
        raise InvalidDocumentError(f"version {version} is not known", pointer="/version")
    return dict(read(manifest, "entries", as_list(entry)))


def _md5_of(row: Mapping[str, object]) -> str | None:
    md5 = read_optional(row, "md5", as_text)
    return None if md5 is None else md5.lower()


def _as_crc(value: object) -> int:
    number = as_count(value)
    if number >= 1 << 32:
        raise InvalidDocumentError("a CRC-32 is below 2^32")
    return number


def _differences(
    expected: Mapping[str, _Content], found: Mapping[str, _Content], failed: Collection[str]
) -> Iterator[Finding]:
    for name, wanted in expected.items():
        if name in failed:
            continue
        if name not in found:
            yield Finding(name, "the manifest has it, the archive has not")
            continue
        for what in ("size", "crc32", "md5"):
            value = getattr(wanted, what)
            if value is not None and value != getattr(found[name], what):
                yield Finding(name, f"its {what} is {getattr(found[name], what)}; the manifest says {value}")
    for name in sorted(found.keys() - expected.keys() - {MANIFEST_NAME}):
        if not (failed and _ERRORS_NAME.fullmatch(name)):
            yield Finding(name, "the archive has it, the manifest has not")


def _finding(value: object) -> Finding:
    row = require_object(value, "something left out")
    name = read_optional(row, "name", as_text) or read_optional(row, "file_id", as_text)
    reason = read_optional(row, "detail", as_text) or read_optional(row, "reason", as_text)
    return Finding(name or "", reason or "no reason given")
