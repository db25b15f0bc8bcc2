"""Identities that depend on nothing but what is taken in.

They are version 5 UUIDs (RFC 9562 section 5.5) of what makes a thing the same thing, so that a folder taken
in again, by two processes at once, or by another node, gives the same identities and adds nothing.
"""

from __future__ import annotations

import json
from uuid import UUID, uuid5

NAMESPACE = UUID("6f2b0b52-4d0f-5c0e-9a53-27f0f3c6a1d4")


def file_identity(camera_id: str, name: str, sha256: str) -> UUID:
    """A file is its camera, its name and its content: when the content changes it is another file."""
    return _identity("file", camera_id, name, sha256)


def event_identity(camera_id: str, source: str, number: int) -> UUID:
    """An event is its camera, the recording it was found in, and its number there."""
    return _identity("event", camera_id, source, number)


def status_identity(camera_id: str, document: object) -> UUID:
    """A status is its camera and everything it says, as a JSON value."""
    return _identity("status", camera_id, document)


def _identity(*parts: object) -> UUID:
    return uuid5(NAMESPACE, json.dumps(parts, sort_keys=True, separators=(",", ":")))
