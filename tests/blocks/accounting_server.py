"""An accounting server on a real port, which answers as it is told to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
SECRET = "what-both-servers-know"
CONVERSATION: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("accounting_conversation.json").read_text(encoding="utf-8")
)
"""Requests and answers as the protocol has them."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        path, headers, question: of it; names of headers in lower case.
        peer: address and port of the connection that it came over.
    """

    path: str
    headers: Mapping[str, str]
    question: Any
    peer: tuple[str, int]


@dataclass
class Saying:
    """What the server says.

    Attributes:
        status, document, headers: of the answer.
        raw: a body in place of the document.
        before: called before it is said; may take its time.
        is_dropped: close the connection without an answer.
        is_cut: close it in the middle of the body.
        drip: wait on this event between the bytes of the body, which has no end.
    """

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    before: Callable[[], object] | None = None
    is_dropped: bool = False
    is_cut: bool = False
    drip: threading.Event | None = None

    @property
    def body(self) -> bytes:
        return json.dumps(self.document).encode() if self.raw is None else self.raw


def known(user_id: int = 17, **changes: object) -> dict[str, object]:
    """What is said of an account."""
    limits = {"active": True, "block_quota": 2 << 30, "monthly_traffic_quota": 20 << 30}
    return {"user_id": user_id} | limits | changes


def from_conversation(asked: Asked) -> Saying:
    """What the recorded server says to a question, 404 to one that is not in the conversation."""
    for line in CONVERSATION:
        if line["question"] == asked.question:
            return Saying(line["status"], line["answer"])
    return Saying(404, {"error": "unknown"})


class ScriptedAccounting:
    """The server; says what `say` gives.

    Args:
        tls: what it needs to speak TLS, None for plain HTTP.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.say: Callable[[Asked], Saying] = from_conversation
        script = self

        class Handler(_Handler):
            """Knows its script."""

        Handler.script = script
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://{LOOPBACK}:{self._server.server_port}"

    def always(self, saying: Saying) -> None:
        """Say that from now on."""
        self.say = lambda _asked: saying

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedAccounting
    protocol_version = "HTTP/1.1"
    timeout = 30  # of a connection that stays open

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, json.loads(content), self.client_address)
        self.script.asked.append(asked)
        saying = self.script.say(asked)
        if saying.before is not None:
            saying.before()
        self.close_connection = saying.is_dropped or saying.is_cut or saying.drip is not None
        try:
            if not saying.is_dropped:
                self._answer(saying)
        except OSError:  # whoever asked has gone
            self.close_connection = True

    def _answer(self, saying: Saying) -> None:
        self.send_response(saying.status)
        self.send_header("Content-Type", "application/json")
        length = len(saying.body) + saying.is_cut if saying.drip is None else 1 << 30
        self.send_header("Content-Length", str(length))
        for name, value in saying.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(saying.body)
        while saying.drip is not None and not saying.drip.wait(0.01):
            self.wfile.write(b" ")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Say nothing."""
