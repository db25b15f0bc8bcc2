"""A node of a few lines that can be told to fail in ways a real one does not."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = Callable[[Request], Response]


@dataclass
class TinyNode:
    """Answers each request with the next of `views`, the last one again and again; remembers the requests."""

    views: list[View] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    base_url: str = ""

    def answer_with(self, *views: View | Response) -> None:
        """Set what the next requests are answered with."""
        self.views = [always(view) if isinstance(view, Response) else view for view in views]

    def application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        request = Request(environ)
        request.get_data()
        self.requests.append(request)
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        try:
            response = view(request)
        except HTTPException as error:
            response = error.get_response()
        return iter(response(environ, start_response))

    @property
    def paths(self) -> list[str]:
        """The request lines' paths as they came, still percent-encoded."""
        return [request.environ["RAW_URI"] for request in self.requests]


def serve(node: TinyNode, tls: ssl.SSLContext | None = None) -> Iterator[TinyNode]:
    """Run `node`, over TLS where a context for it is given, until the generator goes on."""
    server = make_server("127.0.0.1", 0, node.application, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    node.base_url = f"http{'s' if tls else ''}://127.0.0.1:{server.port}"
    thread.start()
    yield node
    server.shutdown()
    thread.join()
    server.server_close()


def always(response: Response) -> View:
    return lambda request: response


def answer(document: object, status: int = 200, **headers: str) -> Response:
    """A JSON answer; ``Retry_After="3"`` sets a header."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(json.dumps(document), status, fields, content_type="application/json")


def problem(status: int, code: str, detail: str, **members: object) -> Response:
    document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return Response(json.dumps(document | members), status, content_type="application/problem+json")


def cut_after(content: bytes, sent_bytes: int, **headers: str) -> View:
    """Announce all of `content`, send so many bytes of it and close the connection."""

    def view(request: Request) -> Response:
        response = ranged(content, **headers)(request)
        body = response.get_data()
        length = response.headers["Content-Length"]
        response = Response([body[:sent_bytes]], response.status_code, response.headers)
        response.headers["Content-Length"] = length
        return response

    return view


def ranged(content: bytes, **headers: str) -> View:
    """Serve `content` with ranges; ``If-Range`` is honoured against ``ETag``."""

    def view(request: Request) -> Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = request.headers.get("Range")
        condition = request.headers.get("If-Range")
        if asked is None or (condition is not None and condition != fields.get("ETag")):
            return Response(content, 200, fields | {"Content-Length": str(len(content))})
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return Response(b"", 416, fields | {"Content-Range": f"bytes */{len(content)}"})
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        return Response(rest, 206, fields | {"Content-Range": told, "Content-Length": str(len(rest))})

    return view
