"""A TCP line that fails on demand: it stands between an exporter and a receiver."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

BLOCK_BYTES = 1 << 14


class FaultyLine:
    """Forwards connections of a free port to another one, until told to cut them.

    Args:
        target_port: port of the receiver on the loopback interface.

    Attributes:
        port: port to connect to.
        cuts: number of connections that were cut.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._allowance: int | None = None
        self._mutex = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def cut_after(self, byte_count: int) -> None:
        """Cut the connection that would complete the next `byte_count` bytes to the receiver; once."""
        with self._mutex:
            self._allowance = byte_count

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close(self._listener)
        self._thread.join()
        for some in self._sockets:
            close(some)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target_port))
            self._sockets += [client, server]
            threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_counted: bool) -> None:
        try:
            while block := source.recv(BLOCK_BYTES):
                allowed = self._allowed(block) if is_counted else len(block)
                sink.sendall(block[:allowed])
                if allowed < len(block):
                    self.cuts += 1
                    break
        except OSError:
            return  # the other direction was cut
        finally:
            close(source)
            close(sink)

    def _allowed(self, block: bytes) -> int:
        with self._mutex:
            if self._allowance is None:
                return len(block)
            self._allowance -= len(block)
            if self._allowance > 0:
                return len(block)
            allowed = len(block) + self._allowance - 1
            self._allowance = None
            return max(allowed, 0)


def close(some: socket.socket) -> None:
    """End both directions of a connection, whoever is waiting on it."""
    with contextlib.suppress(OSError):
        some.shutdown(socket.SHUT_RDWR)
    some.close()
