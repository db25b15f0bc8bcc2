"""The version of the installed distribution."""

from __future__ import annotations

from importlib import metadata


def software_version() -> str:
    """Version of MeteorPi as installed; ``unknown`` when it runs out of a folder without being installed."""
    try:
        return metadata.version("meteorpi")
    except metadata.PackageNotFoundError:
        return "unknown"
