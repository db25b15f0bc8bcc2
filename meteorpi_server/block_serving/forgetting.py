"""Storage that forgets is for development: what clients were told is kept would be gone at the next start.

Source: K-201 of the storage contract.
"""

from __future__ import annotations

import logging
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.settings import Settings

logger = logging.getLogger("meteorpi.block.server")

_MEMORY: Final = "memory:"


def require_lasting_store(settings: Settings) -> None:
    """Return when objects outlive the process, or the settings allow what is insecure; the log says so then.

    Raises:
        ConfigurationError: they do not, and the settings do not allow it.
    """
    location = settings.block_store or settings.file_store
    if not location.lower().startswith(_MEMORY):
        return
    if not settings.block_insecure:
        raise ConfigurationError(
            "objects in memory are gone when the process ends: that is for debug mode only, unless "
            "METEORPI_BLOCK_INSECURE is set"
        )
    logger.warning("objects are in memory, and gone when the process ends")
