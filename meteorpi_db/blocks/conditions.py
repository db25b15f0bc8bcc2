"""What a request demands of the object it is about: If-Match and If-None-Match.

Published clients send tags back byte for byte, and older ones without quotes. So nothing here is an error:
what does not parse is one opaque text that equals nothing but itself.

Source: K-145 to K-148 of the storage contract; RFC 9110 sections 8.8.3 and 13.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from meteorpi_db.blocks.names import tag_of
from meteorpi_model.errors import PreconditionFailedError

ANY: Final = "*"
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_LIST: Final = re.compile(r'(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*')


@dataclass(frozen=True, kw_only=True)
class Demands:
    """The conditions of a request, as the headers had them; None for one that was not there."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, sha256: str | None) -> None:
        """Return when the conditions hold for a change of an object.

        Args:
            sha256: of the present bytes, None when there is no object.

        Raises:
            PreconditionFailedError: one does not.
        """
        if self.if_match is not None and not matches(self.if_match, sha256, weakly=False):
            raise _failed("If-Match", sha256)
        if self.if_none_match is not None and matches(self.if_none_match, sha256, weakly=True):
            raise _failed("If-None-Match", sha256)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is demanded."""
        return self.if_match is None and self.if_none_match is None


def matches(header: str, sha256: str | None, *, weakly: bool) -> bool:
    """Whether one of the tags in `header` is that of the object.

    Args:
        header: value of the header.
        sha256: of the present bytes, None when there is no object, which no tag is of.
        weakly: weak tags count, too.
    """
    if sha256 is None:
        return False
    text = header.strip()
    if text == ANY:
        return True
    if not _LIST.fullmatch(text):
        return text.strip('"') == sha256 and not text.startswith("W/")
    return any(tag == sha256 and (weakly or not weak) for weak, tag in _TAG.findall(text))


def _failed(name: str, sha256: str | None) -> PreconditionFailedError:
    present = {} if sha256 is None else {"tag": tag_of(sha256)}
    return PreconditionFailedError(f"the object is not what {name} says", **present)
