"""A block server in a process of its own, used as published clients use it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.administration import BlockAdministration
from meteorpi_db.testing.processes import free_port
from meteorpi_db.testing.servers import PostgresServer
from meteorpi_server.block_serving.application import make_block_app, require_taken_over
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.archive.socket_client import SocketClient
from tests.blocks.accounting_server import Saying, ScriptedAccounting, known
from tests.blocks.ancestors import make_ancestor, write_objects
from tests.cli.conftest import Meteorpi

WORD = "MAGICFARYDUST"
AUTHORIZATION = {"Authorization": f"Token {WORD}"}
COMMAND = [sys.executable, "-m", "meteorpi_server.cli"]
CONNECTIONS = 50
ATTEMPTS = 30
"""More wrong ones than anybody may make from one address."""


@contextmanager
def serving(folder: Path, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``meteorpi blocks serve`` in `folder`, and its address; it has to end well when it is told to."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "METEORPI_CONFIG": "", **environ}
    # The log goes to a file: a pipe that nobody reads would stop the server when it is full.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*COMMAND, "blocks", "serve", "--json", *arguments],
            cwd=folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, _text(log)
            yield process, json.loads(line)["url"]
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            assert process.returncode == 0, _text(log)
        finally:
            process.kill()
            process.communicate(timeout=60)


def _text(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


class PublishedClient:
    """What clients of the predecessor send, byte by byte; one connection each."""

    def __init__(self, url: str, authorization: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._authorization = authorization

    def __enter__(self) -> PublishedClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, chunks: list[bytes] | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in small letters, and body of an answer; a body is sent in chunks."""
        sent = self._authorization | {name.replace("_", "-"): value for name, value in headers.items()}
        if chunks is not None:
            sent |= {"Transfer-Encoding": "chunked"}
        self._connection.request(
            method,
            f"/api/v0{path}",
            iter(chunks) if chunks is not None else None,
            sent,
            encode_chunked=chunks is not None,
        )
        with self._connection.getresponse() as answer:
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()


def keep_a_file(url: str, authorization: dict[str, str], prefix: str) -> None:
    """Upload, download, replace and remove one object as a client does."""
    name, chunks = f"/files/{prefix}/blocks/{uuid.uuid4()}", [b"first ", b"and ", bytes(70_000)]
    with PublishedClient(url, authorization) as client:
        status, headers, _ = client.ask("POST", name, chunks)
        assert (status, "date" in headers) == (204, True)
        tag = headers["etag"]
        assert client.ask("GET", name, If_None_Match=tag)[0] == 304
        status, headers, body = client.ask("GET", name)
        assert (status, headers["etag"], body) == (200, tag, b"".join(chunks))
        assert headers["content-length"] == str(len(body))
        status, replaced, _ = client.ask("POST", name, [b"second"], If_Match=tag)
        assert (status, replaced["etag"] != tag) == (204, True)
        assert client.ask("POST", name, [b"third"], If_Match=tag)[0] == 412
        assert client.ask("DELETE", name)[0] == 204
        assert client.ask("GET", name)[0] == 404


@pytest.mark.contract(
    "J-05",
    "A.2/chunked",
    "A.5/accept",
    "K-501",
    "K-502",
    "KD-20",
    "A.13/dummy-auth",
    "K-503/serve",
    "issue-5.4",
    "A.2/connections",
    "A.2/headers",
)
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes cannot be looked at here")
def test_published_clients_work_with_their_options(tmp_path: Path) -> None:
    options = ["--port=0", "--address=localhost", "--debug", "--dummy", f"--dummy_auth={WORD}"]

    with serving(tmp_path, *options) as (process, url):
        told = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        variables = Path(f"/proc/{process.pid}/environ").read_bytes()
        with PublishedClient(url, AUTHORIZATION) as client, PublishedClient(url, {}) as stranger:
            status, _, body = client.ask("POST", "/prefix/")
            assert (status, list(json.loads(body))) == (201, ["prefix"])
            assert json.loads(client.ask("GET", "/quota/")[2])["quota"] == 2 << 30
            assert stranger.ask("POST", "/prefix/")[0] == 403
            listened = url.replace("http:", "ws:") + "api/v0/websocket/test/index"
            with SocketClient(listened, subprotocols=["v0.ws.block.qabel.de"]) as listener:
                tag = client.ask("POST", "/files/test/index", [b"index"])[1]["etag"]
                message = listener.said()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for done in [pool.submit(keep_a_file, url, AUTHORIZATION, "test") for _ in range(CONNECTIONS)]:
                done.result(timeout=120)

    assert {
        "operation": "POST",
        "prefix": "test",
        "path": "test/index",
        "etag": tag,
    }.items() <= message.items()
    assert WORD.encode() not in told + variables
    assert b"--dummy-auth-file" in told
    assert list(tmp_path.iterdir()) == []  # database and objects were temporary


@pytest.mark.contract(
    "K-500",
    "K-501",
    "A.13/accounting-host",
    "A.13/local-storage",
    "A.13/prometheus-port",
    "A.14/yaml",
    "A.3/owner",
    "A.13/file",
    "K-503/serve",
)
def test_configuration_file_of_the_predecessor_is_enough(tmp_path: Path) -> None:
    port = free_port()
    with ScriptedAccounting() as accounting:
        (tmp_path / "secret").write_text("geheim\n")
        (tmp_path / "qabel.yaml").write_text(
            f"""
qabel:
    block:
        psql_dsn: sqlite:///{tmp_path}/blocks.db
        accounting-host: {accounting.url}
        apisecret-file: secret
        local-storage: objects
        port: 0
        prometheus-port: {port}
        block_metrics_access: open
        logging-config: missing.json
        uwsgi: {{processes: 4}}
"""
        )
        accounting.always(Saying(document=known(17)))
        anna = {"Authorization": "Token of anna"}
        smaller = {"METEORPI_MAX_UPLOAD_BYTES": "1000"}  # a limit of files, which is none of blocks
        with serving(tmp_path, **smaller) as (_, url), PublishedClient(url, anna) as client:
            prefix = json.loads(client.ask("POST", "/prefix/")[2])["prefix"]
            keep_a_file(url, anna, prefix)
            assert client.ask("POST", f"/files/{prefix}/index", [bytes(1 << 16)] * 20)[0] == 204
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                metrics = answer.read().decode()
        assert accounting.asked[0].headers["apisecret"] == "geheim"
    assert "block_in_progress_requests" in metrics

    assert len([path for path in (tmp_path / "objects").rglob("*") if path.is_file()]) >= 1
    with MeteorDatabase(tmp_path / "blocks.db", tmp_path / "none") as database:
        (place,) = BlockAdministration(database.transactions, database.clock).prefixes_of("remote:17")
    assert (place.name, place.objects, place.used) == (prefix, 1, 20 << 16)


@pytest.mark.contract("K-502", "K-208")
@pytest.mark.parametrize(("proxy", "status"), [("", 429), ("127.0.0.1", 403)], ids=["none", "trusted"])
def test_addresses_are_believed_of_the_configured_proxy_only(tmp_path: Path, proxy: str, status: int) -> None:
    node, files = str(tmp_path / "node.db"), str(tmp_path / "files")
    settings = Settings(trusted_proxy=proxy, db_path=node, file_store=files)
    with settings.open_database() as database:
        server = StandaloneServer(make_block_app(database, settings).app, settings, port=0)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            with PublishedClient(
                f"http://127.0.0.1:{server.port}", {"Authorization": "Token wrong"}
            ) as client:
                told = [
                    client.ask("GET", "/quota/", X_Forwarded_For=f"192.0.2.{number}")[0]
                    for number in range(ATTEMPTS)
                ]
        finally:
            server.stop()
            thread.join(60)

    assert (told[0], told[-1]) == (403, status)


@pytest.mark.contract("A.13/file", "A.13/psql-dsn", "KD-12")
def test_server_does_not_hide_what_the_predecessor_keeps(
    postgres_server: PostgresServer, meteorpi: Meteorpi, home: Path
) -> None:
    postgres_server.create_database("hidden")
    url = postgres_server.url("hidden")
    try:
        make_ancestor(url, 4)
        MeteorDatabase(url, home / "files", create=True).close()
        write_objects(home / "ancestor")
        serve = ("block", "serve", "--port", "0")

        over_its_database = meteorpi(*serve, "--psql-dsn", url, "--local-storage", home / "objects")
        over_its_objects = meteorpi(*serve, "--local-storage", home / "ancestor")
        taken = meteorpi("--db-path", url, "block", "import-ancestor", url, home / "ancestor")
        with MeteorDatabase(url, home / "files") as database:
            require_taken_over(database, Settings(block_store=str(home / "ancestor")))
    finally:
        postgres_server.drop_database("hidden")

    assert (over_its_database.code, over_its_objects.code, taken.code) == (2, 2, 0)
    assert "the database of a Qabel block server: take it over first" in over_its_database.err
    assert "objects of a Qabel block server are in" in over_its_objects.err
