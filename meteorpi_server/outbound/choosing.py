"""Which transport makes the requests; what comes of them is the same whichever it is."""

from __future__ import annotations

from typing import Final, Protocol

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.outbound.pooled import PooledTransport
from meteorpi_server.outbound.transport import Timeouts, Transport

TRANSPORTS: Final = ("auto", "requests-like", "httpx-like")
"""The choices of the setting ``archive_transport``; the first is the quickest that is installed."""


class MakeTransport(Protocol):
    """A class of transports."""

    def __call__(self, timeouts: Timeouts | None = None, *, ca_file: str | None = None) -> Transport:
        """Make one.

        Args:
            timeouts: how long a source may take.
            ca_file: PEM file with the certificates to trust instead of the usual ones, or None.

        Raises:
            OSError: `ca_file` cannot be read.
        """


def transport_called(name: str) -> MakeTransport:
    """What makes the transport called `name`.

    Args:
        name: one of `TRANSPORTS`.

    Raises:
        ConfigurationError: it needs a package that is not here.
    """
    match name:
        case "auto":
            return _quickest()
        case "httpx-like":
            return _layered()
        case _:
            return PooledTransport


def _quickest() -> MakeTransport:
    try:
        from meteorpi_server.outbound.direct import DirectTransport
    except ImportError:
        return PooledTransport
    return DirectTransport


def _layered() -> MakeTransport:
    try:
        from meteorpi_server.outbound.layered import LayeredTransport
    except ImportError as error:
        raise ConfigurationError(
            "the transport httpx-like needs httpcore2: pip install 'meteorpi[archive]'"
        ) from error
    return LayeredTransport
