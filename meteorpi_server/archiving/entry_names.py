"""Names of entries: what may stand in an archive that anybody unpacks, on any system.

Everything here depends on its arguments alone, so that two nodes give the same names.

Source:
    Section 3.13 of the archive contract.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_COMPONENT_BYTES: Final = 200
MAX_NAME_BYTES: Final = 1000
"""A clean name stays 40 bytes below, for the numbers that tell names apart."""

_LONGEST_EXTENSION: Final = 32
# Components of which nothing has to be changed: most are.
_PLAIN = re.compile(
    r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:[.]|$))[a-z0-9_-][a-z0-9_+=@,()-]*(?:\.[a-z0-9_+=@,()-]+)*",
    re.IGNORECASE | re.ASCII,
)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|/\u2028\u2029]')
_NO_TEXT = re.compile("[\ud800-\udfff]")  # how file names that are not UTF-8 arrive
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)


def clean_component(text: str) -> str:
    """One component of a name without anything that a system reads as something else; may be empty.

    Args:
        text: as it came; ``/`` becomes ``_``.
    """
    text = unicodedata.normalize("NFC", _NO_TEXT.sub("\ufffd", text))
    text = _UNSAFE.sub("_", text)
    text = _shortened(_without_tail(text), MAX_COMPONENT_BYTES)
    if _DEVICE.match(text):
        stem, dot, extension = text.partition(".")
        text = _shortened(f"{stem.rstrip(' ')}_{dot}{extension}", MAX_COMPONENT_BYTES)
    return text


def _without_tail(text: str) -> str:
    """`text` without dots and spaces at its end, which some systems drop; so ``.`` and ``..`` go, too."""
    return text.rstrip(". ")


def _shortened(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8, cut before its extension."""
    if len(text.encode()) <= limit:
        return text
    stem, dot, extension = text.rpartition(".")
    if not stem or len(extension.encode()) > _LONGEST_EXTENSION:
        stem, dot, extension = text, "", ""
    room = limit - len((dot + extension).encode())
    cut = stem.encode()[:room].decode("utf-8", "ignore")
    return _without_tail(cut) + dot + extension


def clean_name(text: str, index: int) -> str:
    """A relative name of clean components, less than 1,000 bytes long.

    Args:
        text: components with ``/`` between them; empty ones, ``.`` and ``..`` are left out.
        index: number of the entry, which names it when nothing else is left: ``file-<index>``.
    """
    if len(text) <= MAX_COMPONENT_BYTES:
        parent, slash, last = text.rpartition("/")
        if (not slash or _is_plain(parent)) and _PLAIN.fullmatch(last):
            return text
    parts = [part for part in map(clean_component, text.split("/")) if part]
    while len(parts) > 1 and len("/".join(parts).encode()) > MAX_NAME_BYTES - 40:
        del parts[-2]  # the last is the name that somebody looks for
    return "/".join(parts) or f"file-{index}"


@lru_cache(maxsize=1024)  # thousands of files lie in few directories
def _is_plain(folder: str) -> bool:
    return all(map(_PLAIN.fullmatch, folder.split("/")))


def name_of_url(url: str) -> str:
    """The last segment of the path of `url`, decoded once, else its host; still to be cleaned."""
    parts = urlsplit(url)
    segment = parts.path.rpartition("/")[2] or parts.path.rstrip("/").rpartition("/")[2]
    return decoded(segment) or parts.hostname or ""


def decoded(text: str) -> str:
    """`text` with percent-encoding taken off once: ``+`` stays, what is not UTF-8 becomes U+FFFD."""
    return unquote(text, errors="replace")


class Names:
    """Gives each entry of an archive a name of its own, in the order of the plan.

    Names count as the same when a system that ignores case or composition confuses them. A file never has the
    name of a directory, nor of one that a later file lies in.

    Args:
        reserved: names that no entry may have, such as those of the manifest and of the report.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._files = {_key(name) for name in reserved}
        self._directories: set[str] = set()
        self._next: dict[str, int] = {}

    def is_taken(self, name: str) -> bool:
        """Whether a file called `name`, which is clean, has to be called something else."""
        key = _key(name)
        return key in self._files or key in self._directories or not self._may_hold(key)

    def of_file(self, name: str) -> str:
        """`name`, which is clean, or the first of ``name (2).ext``, ``name (3).ext``... that is free."""
        folder, last = self._placed(name)
        key = _key(folder + last)
        if key in self._files or key in self._directories:
            last = self._free(folder, last)
            key = _key(folder + last)
        self._files.add(key)
        return folder + last

    def of_directory(self, name: str) -> str:
        """The name of a directory entry, with its ``/``; `name` is clean."""
        return self._directory(name.rstrip("/")) + "/"

    def _may_hold(self, key: str) -> bool:
        parts = key.split("/")[:-1]
        return all("/".join(parts[: count + 1]) not in self._files for count in range(len(parts)))

    def _placed(self, name: str) -> tuple[str, str]:
        """The directory, with its ``/``, and the last component of `name`."""
        parent, slash, last = name.rpartition("/")
        return (self._directory(parent) + "/" if slash else ""), last

    def _directory(self, name: str) -> str:
        """The directory `name`, or a numbered one where a file has that name already."""
        if _key(name) in self._directories:
            return name
        folder, last = self._placed(name)
        number = 1
        numbered = last
        while (key := _key(folder + numbered)) in self._files:
            number += 1
            numbered = _with_number(last, number)
        self._directories.add(key)
        return folder + numbered

    def _free(self, folder: str, last: str) -> str:
        first = _key(folder + last)
        number = self._next.get(first, 2)
        while True:
            name = _with_number(last, number)
            key = _key(folder + name)
            number += 1
            if key not in self._files and key not in self._directories:
                self._next[first] = number
                return name


def _with_number(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    suffix = f" ({number}){dot}{extension}"
    return _shortened(stem, MAX_COMPONENT_BYTES - len(suffix.encode())) + suffix


def _key(name: str) -> str:
    """What names that a system may confuse have in common."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
