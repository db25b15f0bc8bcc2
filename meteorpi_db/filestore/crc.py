"""CRC-32 by the fastest means that are installed; all of them find the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable


def find_crc32() -> Callable[[bytes, int], int]:
    """The function of isal (extra ``archive``), else that of the standard library, which is slower."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.crc32
    return isal_zlib.crc32


crc32 = find_crc32()
