"""The two forms of time in a zip, both UTC.

Source:
    Sections 3.13 and 4.1 of the archive contract; the extra field 0x5455 is Info-ZIP's.
"""

from __future__ import annotations

import struct
import time
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
    moment = time.gmtime(min(max(mtime, _EARLIEST), _LATEST))
    clock = moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec >> 1
    return clock, moment.tm_year - 1980 << 9 | moment.tm_mon << 5 | moment.tm_mday
