"""The two forms of time in a zip, both UTC.

Source:
    Sections 3.13 and 4.1 of the archive contract; the extra field 0x5455 is Info-ZIP's.
"""

from __future__ import annotations

import struct
import time
from functools import lru_cache
from typing import Final

_EXTENDED = struct.Struct("<HHBi")
_EARLIEST: Final = 315532800  # 1980-01-01 00:00:00
_LATEST: Final = 4354819198  # 2107-12-31 23:59:58


def has_extended_time(mtime: int) -> bool:
    """Whether `mtime`, seconds since 1970, fits into the signed 32 bits of the extended field."""
    return -(1 << 31) <= mtime < 1 << 31


def extended_time(mtime: int) -> bytes:
    """The extra field that holds `mtime`: 9 bytes, or none when it does not fit."""
    return _EXTENDED.pack(0x5455, 5, 1, mtime) if has_extended_time(mtime) else b""


def dos_time_and_date(mtime: int) -> tuple[int, int]:
    """Time and date in steps of two seconds, clamped to what DOS can say: 1980 to 2107."""
    moment = min(max(mtime, _EARLIEST), _LATEST)
    second = moment % 86400
    clock = second // 3600 << 11 | second // 60 % 60 << 5 | second % 60 >> 1
    return clock, _dos_date(moment // 86400)


@lru_cache(maxsize=1024)  # the files of an archive are of few days
def _dos_date(day: int) -> int:
    date = time.gmtime(day * 86400)
    return date.tm_year - 1980 << 9 | date.tm_mon << 5 | date.tm_mday
