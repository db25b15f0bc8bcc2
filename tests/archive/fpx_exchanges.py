"""What clients of FPX send, in one order: played to FPX once, and to a node in every test.

``python -m tests.archive.fpx_exchanges`` plays them to the FPX whose command is found on the search path, and
writes its answers to ``fpx_answers.json`` beside this file. They were recorded with FPX 0.8.0.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
from werkzeug.http import parse_options_header

from meteorpi_db.testing.processes import free_port, wait_until
from tests.archive.faulty_source import FaultySource, serving
from tests.archive.socket_client import ClosedError, SocketClient
from tests.archive.test_signed_links import made_of

ANSWERS = Path(__file__).with_name("fpx_answers.json")
SECONDS = 60.0
CLIENT = "portal"
NOBODY: dict[str, str] = {}
WAIT = "wait over a WebSocket"
LATER, EARLIER = 4_000_000_000, 1_000_000_000


def encoded(document: object) -> str:
    """Base64 with line breaks, as the companion client sends it."""
    return base64.encodebytes(json.dumps(document).encode()).decode()


@dataclass(frozen=True)
class Exchange:
    """A request. `path`, `json` and `headers` may be made of what is known by then.

    Attributes:
        row: of the table of FPX in the contract, below ``archive-fpx/``.
        is_kept: its ticket is known by its name from then on.
    """

    name: str
    row: str
    method: str
    path: str
    headers: Mapping[str, str] | None = None
    json: Any = None
    data: bytes | None = None
    claims: Mapping[str, object] | None = None
    is_kept: bool = False


def generating(name: str, row: str, body: object, headers: Mapping[str, str] | None = None) -> Exchange:
    return Exchange(name, row, "POST", "/ticket/generate", headers, json=body, is_kept=True)


def signed(name: str, **claims: object) -> Exchange:
    return Exchange(name, "signed", "GET", "/stream/url/{token}?client=" + CLIENT, NOBODY, claims=claims)


A, B = "{source}/a.txt", "{source}/b.bin"
ITEM = {"url": A, "name": "n.txt", "path": "x/y", "headers": {"X-Token": "t"}}

EXCHANGES = [
    Exchange("index", "index", "GET", "/ticket/"),
    Exchange("index without slash", "index", "GET", "/ticket"),
    Exchange("index past the end", "index", "GET", "/ticket/?page=9"),
    Exchange("index page 0", "index", "GET", "/ticket/?page=0"),
    Exchange("index page x", "index", "GET", "/ticket/?page=x"),
    generating("no secret", "generate", {"items": [A]}, NOBODY),
    generating("wrong secret", "generate", {"items": [A]}, {"authorize": "wrong"}),
    generating("first header", "secret-header", {"items": [A]}, {"X-FPX-Authorize": "{secret}"}),
    generating("second header", "secret-header", {"items": [A]}, {"Authorization": "{secret}"}),
    generating("third header", "secret-header", {"items": [A]}, {"Authorize": "{secret}"}),
    generating(
        "no fall-through",
        "secret-header",
        {"items": [A]},
        {"X-FPX-Authorize": "wrong", "Authorize": "{secret}"},
    ),
    generating("two files", "items", {"items": [A, B]}),
    generating("base64", "items", {"items": [A] * 3, "options": {"filename": "set.zip"}}),
    generating("object", "item", {"items": [ITEM, B]}),
    generating("type zip", "type", {"type": "zip", "items": [A]}),
    generating("type stream", "type", {"type": "stream", "items": [B]}),
    generating("type other", "type", {"type": "tar", "items": [A]}),
    generating("stream of two", "type", {"type": "stream", "items": [A, B]}),
    generating("stream of none", "type", {"type": "stream", "items": []}),
    generating("no items", "items", {"type": "zip"}),
    generating("items a number", "items", {"items": 123}),
    generating("items no base64", "items", {"items": "hello world"}),
    generating("items no JSON", "items", {"items": base64.encodebytes(b"hello world").decode()}),
    generating("items no list", "items", {"items": base64.encodebytes(b'{"a": 1}').decode()}),
    generating("options a list", "options", {"items": [A], "options": []}),
    generating("unknown field", "unknown-field", {"items": [A], "colour": "red"}),
    generating("nothing chosen", "items", {"items": []}),
    generating("item no URL", "item", {"items": [7]}),
    Exchange("no body", "items", "POST", "/ticket/generate"),
    Exchange("broken JSON", "not-json", "POST", "/ticket/generate", data=b'{"items": ['),
    Exchange(
        "undeclared JSON", "not-json", "POST", "/ticket/generate", data=b'{"items": ["{source}/a.txt"]}'
    ),
    Exchange("download", "download", "GET", "/ticket/{two files}/download", NOBODY),
    Exchange("download again", "life", "GET", "/ticket/{two files}/download", NOBODY),
    Exchange("download named", "options", "GET", "/ticket/{base64}/download", NOBODY),
    Exchange("download object", "content", "GET", "/ticket/{object}/download", NOBODY),
    Exchange("download stream", "stream", "GET", "/ticket/{type stream}/download", NOBODY),
    Exchange("download unknown", "download", "GET", f"/ticket/{UUID(int=1 << 76)}/download", NOBODY),
    Exchange("download post", "download", "POST", "/ticket/{type zip}/download"),
    Exchange("no client", "signed", "GET", "/stream/url/x", NOBODY),
    Exchange("unknown client", "signed", "GET", "/stream/url/x?client=nobody", NOBODY),
    Exchange("no token", "signed", "GET", f"/stream/url/x?client={CLIENT}", NOBODY),
    signed("token without url", hello="world"),
    signed("token", url=A),
    signed("token with type", url=B, **{"content-type": "image/png"}),
    signed("token with headers", url=B, response_headers={"content-language": "fr"}),
    signed("token in time", url=B, exp=LATER),
    signed("token too late", url=B, exp=EARLIER),
    Exchange("index of many", "index", "GET", "/ticket/"),
]
QUEUED = [
    generating("queued", "queue", {"items": [A]}),
    Exchange("before its turn", "download", "GET", "/ticket/{queued}/download", NOBODY),
    Exchange("wait", "wait", WAIT, "/ticket/{queued}/wait", NOBODY),
    Exchange("in its turn", "queue", "GET", "/ticket/{queued}/download", NOBODY),
]
"""Where tickets have to wait for their turn."""


@dataclass
class Stage:
    """Where exchanges are played.

    Attributes:
        known: what stands in braces: ``source``, ``secret``, and tickets by the exchange that made them.
    """

    address: str
    known: dict[str, str] = field(default_factory=dict)

    def play(self, exchange: Exchange) -> dict[str, Any]:
        """What came back, as far as a client of FPX looks at it."""
        if exchange.method == WAIT:
            return waited(self.address.replace("http", "ws", 1) + self._filled(exchange.path))
        headers = {"authorize": self.known["secret"]} if exchange.headers is None else exchange.headers
        answer = requests.request(
            exchange.method,
            self.address + self._filled(self._with_token(exchange)),
            headers={name: self._filled(text) for name, text in headers.items()},
            json=self._body(exchange),
            data=None if exchange.data is None else self._filled(exchange.data.decode()).encode(),
            timeout=SECONDS,
        )
        if exchange.is_kept and answer.status_code == 200:
            self.known[exchange.name] = answer.json()["id"]
        return seen(answer)

    def _with_token(self, exchange: Exchange) -> str:
        if exchange.claims is None:
            return exchange.path
        claims = self._filled(json.dumps(exchange.claims)).encode()
        token = made_of(b'{"typ":"JWT","alg":"HS256"}', claims, self.known["secret"].encode())
        return exchange.path.replace("{token}", token)

    def _body(self, exchange: Exchange) -> Any:
        if exchange.json is None:
            return None
        body = json.loads(self._filled(json.dumps(exchange.json)))
        return {name: encoded(value) for name, value in body.items()} if exchange.name == "base64" else body

    def _filled(self, text: str) -> str:
        for name, value in self.known.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def seen(answer: requests.Response) -> dict[str, Any]:
    """Status, and what the content is: the shape of JSON, the entries of a zip, or the bytes."""
    found: dict[str, Any] = {"status": answer.status_code}
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json"):
        return found | {"json": shape(answer.json())}
    if answer.status_code != 200:
        return found
    _, options = parse_options_header(answer.headers.get("content-disposition", ""))
    found |= {"type": kind, "filename": options.get("filename")}
    if language := answer.headers.get("content-language"):
        found["language"] = language
    if kind != "application/zip":
        return found | {"body": answer.text}
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        entries = [[name, archive.read(name).decode()] for name in archive.namelist()]
    return found | {"entries": entries}


def waited(url: str) -> dict[str, Any]:
    """What is said over a WebSocket, and how it ends."""
    said = []
    with SocketClient(url) as socket:
        try:
            while True:
                said.append(shape(socket.said()))
        except ClosedError as closed:
            return {"said": said, "code": closed.code, "reason": closed.reason}


def shape(value: Any) -> Any:
    """`value` with its texts and numbers replaced by what they are; of a list the first and the length."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def sources() -> FaultySource:
    """The server that both are sent to."""
    return FaultySource(
        {
            "/a.txt": serving(b"first", Content_Type="text/plain"),
            "/b.bin": serving(b"second", Content_Type="application/pdf"),
        }
    )


def record() -> None:
    """Play everything to FPX, and write down what it answers."""
    with tempfile.TemporaryDirectory() as folder, sources() as source:
        environ = os.environ | {"FPX_DB_URL": f"sqlite:///{folder}/fpx.db", "FPX_HOST": "127.0.0.1"}
        subprocess.run(["fpx", "db", "up"], env=environ, check=True, timeout=SECONDS)
        made = subprocess.run(
            ["fpx", "client", "add", CLIENT], env=environ, check=True, timeout=SECONDS, capture_output=True
        )
        known = {"source": source.url(""), "secret": made.stdout.decode().split()[-1]}
        answers = played(EXCHANGES, environ, known)
        answers |= played(QUEUED, environ | {"FPX_FPX_NO_QUEUE": "False"}, known)
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n")


def played(
    exchanges: list[Exchange], environ: dict[str, str], known: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """What FPX with these settings answers."""
    port = free_port()
    with subprocess.Popen(["fpx", "server", "run"], env=environ | {"FPX_PORT": str(port)}) as process:
        try:
            stage = Stage(f"http://127.0.0.1:{port}", dict(known))
            wait_until(lambda: is_up(stage.address), SECONDS, "FPX")
            return {exchange.name: stage.play(exchange) for exchange in exchanges}
        finally:
            process.terminate()


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/ticket/", timeout=SECONDS).ok
    except requests.ConnectionError:
        return False


if __name__ == "__main__":
    record()
