"""Reading directories before anybody asks for them, so that archives of them are soon fetched in parts."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from datetime import datetime
from typing import Final

from meteorpi_model.errors import UnavailableError
from meteorpi_model.values import utc_datetime_to_milliseconds
from meteorpi_server.archive_api.tree_entries import read_unknown
from meteorpi_server.archiving.checksums import Checksums
from meteorpi_server.settings import Settings

logger = logging.getLogger("meteorpi.archive.directories")

QUIET_SECONDS: Final = 300
"""A directory in which nothing has changed for so long is taken to be complete."""

INTERVAL_SECONDS: Final = 60.0
"""Between two rounds."""

_ROUND_SECONDS: Final = 20.0


def read_quiet(
    settings: Settings, checksums: Checksums, now: datetime, seconds: float = _ROUND_SECONDS
) -> int:
    """Find the checksums of files in directories that have been quiet for a while.

    Args:
        settings: where the directories are.
        checksums: that are known, and will be.
        now: the time.
        seconds: so long is read, to the end of the file at hand; the rest is for the next round.

    Returns:
        The number of files that were read.

    Raises:
        UnavailableError: the storage, or a part of a directory, cannot be read.
    """
    since = utc_datetime_to_milliseconds(now) / 1000 - QUIET_SECONDS
    ends_at = time.monotonic() + seconds
    count = 0
    try:
        with closing(read_unknown(settings, checksums, unchanged_since=since)) as files:
            for _, failure in files:
                count += failure is None
                if time.monotonic() >= ends_at:
                    break
    except OSError as error:
        raise UnavailableError(f"the storage of directories cannot be read: {error}") from error
    if count:
        logger.info("checksums of directories found files=%d", count)
    return count
