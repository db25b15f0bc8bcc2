"""An upload that is cut off is never accepted, under any server: some hand it on as if it were whole."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until
from tests.server.test_importer_routes import new_file, new_status
from tests.system.replication import PASSWORD, REPOSITORY, USER, process, word_of

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.contract("B-30", "B-57")]
CONTENT = bytes(range(256)) * 2000
BODY = (
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    b"Content-Type: image/png\r\n\r\n" + CONTENT + b"\r\n--X--\r\n"
)
ACCOUNT = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@contextmanager
def own_process(server: str, db: MeteorDatabase, port: int) -> Iterator[None]:
    with process(server, db.db_path, db.file_store_path, port) as child:
        assert word_of(child) == "serving"
        yield


@contextmanager
def gunicorn(server: str, db: MeteorDatabase, port: int) -> Iterator[None]:
    options = [f"--bind={LOOPBACK}:{port}", f"--worker-class={server}", "--threads=4", "--no-control-socket"]
    application = (
        f"tests.system.replication:hub_application({str(db.db_path)!r}, {str(db.file_store_path)!r})"
    )
    command = [sys.executable, "-m", "gunicorn", "--log-level=critical", *options, application]
    with subprocess.Popen(command, cwd=REPOSITORY) as child:
        try:
            wait_until(lambda: listens(port), 30, "start of gunicorn")
            yield
        finally:
            child.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


SERVERS: dict[str, Callable[..., Any]] = {
    "hub": own_process,  # waitress
    "cheroot": own_process,
    "gthread": gunicorn,
    "sync": gunicorn,
}


def send_raw(port: int, head: str, body: bytes) -> bytes:
    """Send a request as it is, close our side, and give whatever comes back."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(65536):
            answer += block
        return answer


def chunked(body: bytes) -> bytes:
    """`body` in chunks of 100,000 bytes, without the one that ends it."""
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)


@pytest.mark.contract("faults/uploads")
@pytest.mark.parametrize("server", SERVERS)
def test_cut_off_uploads_are_not_accepted_and_whole_ones_are(
    server: str, db: MeteorDatabase, tmp_path: Path
) -> None:
    db.create_or_update_user(USER, PASSWORD, ["import"])
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/import"
    status = new_status()
    record = new_file(status, CONTENT)
    assert record.file_id is not None
    path = f"/import/data/{record.file_id.hex}/{hashlib.md5(CONTENT).hexdigest()}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nAuthorization: Basic {ACCOUNT}\r\n"
        "Connection: close\r\nContent-Type: multipart/form-data; boundary=X\r\n"
    )
    by_length = head + f"Content-Length: {len(BODY)}"
    by_chunks = head + "Transfer-Encoding: chunked"

    def send(document: dict[str, Any]) -> Any:
        account = (USER.encode(), PASSWORD.encode())
        return requests.post(url, json=document, auth=account, timeout=20).json()  # type: ignore[arg-type]

    with SERVERS[server](server, db, port):
        send({"type": "status", "status": status.as_dict()})
        needed = {"state": "need_file_data", "file_id": record.file_id.hex}
        assert send({"type": "file", "file": record.as_dict()}) == needed
        for size in (0, 100, 100_000, len(BODY) - len(b"\r\n--X--\r\n"), len(BODY) - len(b"--\r\n")):
            cut = BODY[:size]
            for answer in (
                send_raw(port, by_length, cut),
                send_raw(port, by_chunks, chunked(cut)),
                send_raw(port, by_chunks, chunked(cut) + b"0\r\n\r\n"),
            ):
                assert b" 200 " not in answer.partition(b"\r\n")[0]
            assert list(db.store.ids()) == []
        assert send({"type": "cached_entity", "cached_entity_id": record.file_id.hex}) == needed

        assert b" 200 " in send_raw(port, by_chunks, chunked(BODY) + b"0\r\n\r\n").partition(b"\r\n")[0]
        again = {"type": "cached_entity", "cached_entity_id": record.file_id.hex}
        assert send(again) == {"state": "complete"}

    assert b"".join(db.open_content(record.file_id)) == CONTENT
