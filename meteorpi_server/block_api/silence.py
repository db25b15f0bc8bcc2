"""Uploads that bring no byte for a while, on servers that hand on their connection and would wait for ever.

Others have a time limit of their own: see the table in ``docs/reference/block-limits.md``.

Source: K-128 of the storage contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

_CONNECTIONS: Final = ("gunicorn.socket", "werkzeug.socket")


@contextmanager
def ending_silence(environ: Mapping[str, Any], seconds: float) -> Iterator[None]:
    """Let reading from the connection of a request fail after so long without a byte; ends with the block."""
    connection = next((environ[name] for name in _CONNECTIONS if name in environ), None)
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(seconds)
    try:
        yield
    finally:
        connection.settimeout(before)
