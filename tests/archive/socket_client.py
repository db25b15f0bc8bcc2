"""A reader of WebSockets, one frame after the other: nothing that comes with the handshake is lost."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.components import absent

try:
    import wsproto
    from wsproto import events
except ImportError:  # the tests that need it say so
    wsproto = None  # type: ignore[assignment]

SECONDS = 60.0


class ClosedError(Exception):
    """The other side has closed the socket, with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class SocketClient:
    """The side that asks; `url` begins with ``ws://``.

    Attributes:
        subprotocol: that the other side has chosen.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> None:
        if wsproto is None:
            absent("wsproto is not installed: pip install 'meteorpi[archive]'")
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), SECONDS)
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._found: deque[Any] = deque()
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.send(
            events.Request(
                host=parts.netloc, target=target, extra_headers=extra, subprotocols=list(subprotocols)
            )
        )
        accepted = self.next()
        assert isinstance(accepted, events.AcceptConnection)
        self.subprotocol = accepted.subprotocol

    def said(self) -> dict[str, Any]:
        """The next message.

        Raises:
            ClosedError: there is none; the socket was closed.
        """
        text, is_whole = "", False
        while not is_whole:  # a message may come in parts
            event = self.next()
            if isinstance(event, events.CloseConnection):
                raise ClosedError(event.code, event.reason or "")
            assert isinstance(event, events.TextMessage)
            text, is_whole = text + event.data, event.message_finished
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def end(self) -> tuple[int, str]:
        """Code and reason of the end, whatever is said before it; the connection is closed by both then."""
        try:
            while True:
                self.said()
        except ClosedError as closed:
            assert self._socket.recv(1) == b""
            self.close()
            return closed.code, closed.reason

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def send(self, event: Any) -> None:
        """Say something, of whatever kind."""
        self._socket.sendall(self._protocol.send(event))

    def next(self) -> Any:
        """What comes next, of whatever kind."""
        while not self._found:
            self._protocol.receive_data(self._socket.recv(4096) or None)
            self._found.extend(self._protocol.events())
        return self._found.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
