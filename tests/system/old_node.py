"""A node of the first generation, as small as the tables of its protocol allow, with its known defects.

Written from the tables alone, without anything of this project, to prove that such a node and one of ours can
push to each other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Document = dict[str, Any]


class OldExporter:
    """Pushes entities given as documents; looks at nothing but the state of the reply to an entity.

    Args:
        target_url: the import route.
        user_id, password: the account there.
        statuses: documents of camera statuses by hex id.
        contents: bytes of files by hex id.
    """

    def __init__(
        self,
        target_url: str,
        user_id: str,
        password: str,
        statuses: dict[str, Document],
        contents: dict[str, bytes],
    ) -> None:
        self._url = urlsplit(target_url)
        self._account = "Basic " + base64.b64encode(f"{user_id}:{password}".encode()).decode()
        self._statuses = statuses
        self._contents = contents
        self.requests: list[str] = []

    def push(self, kind: str, entity: Document, most_requests: int = 50) -> str:
        """Push one entity; gives the state at the end. The original would never have given up by itself."""
        full: Document = {"type": kind, kind: entity}
        cached: Document = {"type": "cached_entity", "cached_entity_id": entity[f"{kind}_id"]}
        next_document = full
        while len(self.requests) < most_requests:
            status, reply = self._post("", json.dumps(next_document).encode(), "application/json")
            self.requests.append(next_document["type"])
            if status >= 400:
                return "failed"
            state = reply.get("state")
            if state == "need_status":
                self._send_status(reply["status_id"])
            elif state == "need_file_data":
                self._send_content(reply["file_id"])
            elif state not in {"continue", "continue-nocache"}:
                return str(state)
            next_document = full if state == "continue-nocache" else cached
        return "gave up"

    def _send_status(self, status_id: str) -> None:
        self.requests.append("status")
        body = json.dumps({"type": "status", "status": self._statuses[status_id]}).encode()
        self._post("", body, "application/json")

    def _send_content(self, file_id: str) -> None:
        self.requests.append("data")
        content = self._contents[file_id]
        boundary = uuid.uuid4().hex
        body = (
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
                "Content-Type: text/plain\r\n\r\n"
            ).encode()
            + content
            + f"\r\n--{boundary}--\r\n".encode()
        )
        digest = hashlib.md5(content).hexdigest()
        self._post(f"/data/{file_id}/{digest}", body, f"multipart/form-data; boundary={boundary}")

    def _post(self, path: str, body: bytes, content_type: str) -> tuple[int, Document]:
        connection = HTTPConnection(self._url.hostname or "", self._url.port, timeout=20)
        headers = {"Authorization": self._account, "Content-Type": content_type}
        connection.request("POST", self._url.path + path, body, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if response.status == 200 else {}


class OldReceiver:
    """Takes in what is pushed to it, in memory.

    Defects kept: an entity sent before is remembered by its id alone and never renewed; a miss is answered
    with an HTML page and status 500 and remembered too; only the status of the entity itself is asked for.

    Args:
        user_id, password: the only account.
    """

    def __init__(self, user_id: str = "importer", password: str = "pass") -> None:
        self._account = "Basic " + base64.b64encode(f"{user_id}:{password}".encode()).decode()
        self._cache: dict[str, tuple[str, Document] | None] = {}
        self.events: dict[str, Document] = {}
        self.files: dict[str, Document] = {}
        self.statuses: dict[str, Document] = {}
        self.contents: dict[str, bytes] = {}
        self.requests: list[str] = []

    def forget(self) -> None:
        """Lose the memory of entities sent before, as a restart does."""
        self._cache.clear()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port; gives the URL of the import route."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body go in two pieces

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text = receiver.answer(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if status == 200 else "text/html")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/import"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one request."""
        if headers.get("Authorization") != self._account:
            return 403, b"<html>no</html>"
        upload = re.fullmatch(r"/import/data/([0-9a-f]{32})/([0-9a-f]{32})", path)
        if upload:
            self.requests.append("data")
            self._take_content(upload[1], upload[2], headers["Content-Type"], body)
            return 200, json.dumps({"state": "continue"}).encode()
        document = json.loads(body)
        self.requests.append(document["type"])
        reply = self._reply(document)
        return (
            (500, b"<html>Internal Server Error</html>")
            if reply is None
            else (200, json.dumps(reply).encode())
        )

    def _reply(self, document: Document) -> Document | None:
        kind = document["type"]
        if kind == "status":
            self.statuses.setdefault(document["status"]["status_id"], document["status"])
            return {"state": "continue"}
        if kind in {"event", "file"}:
            entity_id = document[kind][f"{kind}_id"]
            if entity_id not in self._cache:
                self._cache[entity_id] = (kind, document[kind])
        elif kind == "cached_entity":
            entity_id = document["cached_entity_id"]
        else:
            return {"state": "failed", "message": "Unknown request"}
        remembered = self._cache.setdefault(entity_id, None)
        return None if remembered is None else self._import(*remembered)

    def _import(self, kind: str, entity: Document) -> Document:
        held = self.events if kind == "event" else self.files
        if entity[f"{kind}_id"] in held:
            return {"state": "complete"}
        if entity["status_id"] not in self.statuses:
            return {"state": "need_status", "status_id": entity["status_id"]}
        for record in entity["files"] if kind == "event" else [entity]:
            if record["file_id"] not in self.contents:
                return {"state": "need_file_data", "file_id": record["file_id"]}
        held[entity[f"{kind}_id"]] = entity
        return {"state": "complete"}

    def _take_content(self, file_id: str, md5: str, content_type: str, body: bytes) -> None:
        boundary = content_type.partition("boundary=")[2].strip('"').encode()
        part = body.split(b"--" + boundary)[1]
        head, _, content = part.partition(b"\r\n\r\n")
        assert b'name="file"; filename="file"' in head
        content = content.removesuffix(b"\r\n")
        if hashlib.md5(content).hexdigest() == md5:
            self.contents.setdefault(file_id, content)
