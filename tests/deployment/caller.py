"""What callers of a deployed node do: requests with every byte under control, and whole imports."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from typing import Any, NamedTuple

from meteorpi_db.testing.processes import LOOPBACK
from meteorpi_model import CameraStatus, FileRecord, Meta, NSString
from meteorpi_model.values import JsonObject
from tests.deployment.conftest import PASSWORD, USER
from tests.deployment.deployed import DeployedNode
from tests.system.replication import CAMERAS, START, status_of

TIMEOUT_SECONDS = 60.0
BOUNDARY = "a-boundary-between-parts"
PART_HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
PART_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Sizable:
    """Content that is made as it is sent: `blocks` times `block`.

    Attributes:
        block: some bytes.
        blocks: how often.
    """

    block: bytes
    blocks: int = 1

    def __len__(self) -> int:
        return len(self.block) * self.blocks

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.blocks):
            yield self.block

    def digest(self, name: str) -> Any:
        """A digest of the whole."""
        found = hashlib.new(name)
        for block in self:
            found.update(block)
        return found


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """The header with which an account says who it is."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Caller:
    """Somebody who asks a node.

    Args:
        node: whom.
    """

    def __init__(self, node: DeployedNode) -> None:
        self.node = node

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is not open yet; to be closed by whoever asked for it."""
        if self.node.certificates:
            return http.client.HTTPSConnection(
                LOOPBACK,
                self.node.port,
                timeout=TIMEOUT_SECONDS,
                context=self.node.certificates.client_context(),
            )
        return http.client.HTTPConnection(LOOPBACK, self.node.port, timeout=TIMEOUT_SECONDS)

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """The answer to one request on a connection of its own; a body that is no bytes goes chunked."""
        with closing(self.connection()) as connection:
            is_chunked = body is not None and not isinstance(body, bytes)
            all_headers = dict(headers or {})
            if is_chunked and "Content-Length" not in all_headers:
                all_headers["Transfer-Encoding"] = "chunked"
            connection.request(
                method, f"/api{path}", body, all_headers, encode_chunked="Transfer-Encoding" in all_headers
            )
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to GET `path`, below the API."""
        return self.call("GET", path, headers)

    def socket(self) -> socket.socket:
        """An open connection without any HTTP yet."""
        return socket.create_connection((LOOPBACK, self.node.port), timeout=TIMEOUT_SECONDS)

    def exchange(self, request: bytes) -> bytes:
        """All that comes back for some bytes, until the server closes the connection."""
        with self.socket() as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def send(self, document: JsonObject) -> Any:
        """The reply of the import route to a document."""
        reply = self.call("POST", "/import/", basic(), json.dumps(document).encode())
        assert reply.status == 200, reply.body
        return reply.json

    def announce(self, content: Sizable, file_name: str = "picture.bin", **members: Any) -> FileRecord:
        """Have the node wait for the content of a new file."""
        status = new_status()
        record = new_record(status, content, file_name)
        self.send({"type": "status", "status": status.as_dict()})
        assert record.file_id is not None
        asked = self.send({"type": "file", "file": record.as_dict() | members})
        assert asked == {"state": "need_file_data", "file_id": record.file_id.hex}
        return record

    def upload(self, record: FileRecord, content: Sizable, *, chunked: bool = False) -> Reply:
        """Send the content of an announced file."""
        headers = basic() | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        if not chunked:
            headers["Content-Length"] = str(len(PART_HEAD) + len(content) + len(PART_TAIL))
        return self.call("POST", upload_path(record), headers, [PART_HEAD, *_lazily(content), PART_TAIL])

    def state(self, record: FileRecord) -> str:
        """What the node says to the question how far the import of a file is."""
        assert record.file_id is not None
        reply = self.send({"type": "cached_entity", "cached_entity_id": record.file_id.hex})
        return str(reply["state"])

    def import_file(
        self, content: Sizable, file_name: str = "picture.bin", *, chunked: bool = False, **members: Any
    ) -> FileRecord:
        """Bring a file to the node as an exporter does."""
        record = self.announce(content, file_name, **members)
        reply = self.upload(record, content, chunked=chunked)
        assert (reply.status, reply.json) == (200, {"state": "continue"})
        assert self.state(record) == "complete"
        return record


def _lazily(content: Sizable) -> Iterable[bytes]:
    return content


def content_path(record: FileRecord) -> str:
    """Where the content of a file is, below the API."""
    assert record.file_id is not None
    return f"/files/content/{record.file_id.hex}"


def upload_path(record: FileRecord) -> str:
    """Where the content of a file is sent, below the API."""
    assert record.file_id is not None
    return f"/import/data/{record.file_id.hex}/{record.md5}"


def new_status() -> CameraStatus:
    """A camera status of its own."""
    status = status_of(CAMERAS[0])
    status.status_id = uuid.uuid4()
    status.valid_from = START
    return status


def new_record(status: CameraStatus, content: Sizable, file_name: str) -> FileRecord:
    """The record of a file with that content."""
    assert status.status_id is not None
    record = FileRecord(
        camera_id=status.camera_id,
        mime_type="application/octet-stream",
        semantic_type=NSString("timelapse/frame"),
        status_id=status.status_id,
        file_name=file_name,
        md5=content.digest("md5").hexdigest(),
    )
    record.file_id = uuid.uuid4()
    record.file_time = START
    record.file_size = len(content)
    record.meta = [Meta(NSString("skyClarity"), 50)]
    return record
