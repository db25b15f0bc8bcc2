"""Block routes in processes of their own: what signals do, and what several of them have in common."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import pytest
import requests

from meteorpi_db.testing.processes import free_port, wait_until
from tests.cli.processes import running

PROGRAM = """
import os
from meteorpi_db import MeteorDatabase
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import Settings

configure_logging()
settings = Settings.from_environ(os.environ)
meteor_app = MeteorApp(settings.open_database(), settings)
block_api.add_routes(meteor_app)
meteor_app.begin_serving()
application = meteor_app.app
"""
DUMMY = {"Authorization": "Token MAGICFARYDUST"}
SECONDS = 60


def environment(home: Path, **more: str) -> dict[str, str]:
    return {
        "METEORPI_CONFIG": "",
        "METEORPI_DB_PATH": str(home / "node.db"),
        "METEORPI_FILE_STORE": str(home / "files"),
        "METEORPI_ROUTES": "block",
        "METEORPI_BLOCK_ACCOUNTS": "dummy",
        "METEORPI_BLOCK_DUMMY_TOKEN": "MAGICFARYDUST",
        "METEORPI_BLOCK_INSECURE": "true",
        "METEORPI_BLOCK_METRICS_ACCESS": "open",
        **more,
    }


def logging_to(log: Path) -> str:
    handler = {"class": "logging.FileHandler", "filename": str(log)}
    return json.dumps(
        {"version": 1, "handlers": {"f": handler}, "root": {"level": "INFO", "handlers": ["f"]}}
    )


@contextmanager
def half_an_upload(port: int, path: str) -> Iterator[socket.socket]:
    """A connection that has sent five of ten bytes."""
    head = (
        f"POST /api/v0/files/p/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {DUMMY['Authorization']}\r\n"
        "Content-Length: 10\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(head.encode() + b"01234")
        yield connection


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), SECONDS):
        return True
    return False


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


@pytest.mark.contract("K-506", "K-504", "K-505")
def test_process_answers_signals_and_ends_with_its_uploads(tmp_path: Path) -> None:
    first, second, config = tmp_path / "1.log", tmp_path / "2.log", tmp_path / "logging.json"
    config.write_text(logging_to(first))
    environ = environment(tmp_path, METEORPI_LOGGING_CONFIG=str(config))
    with running("serve", "--port", 0, "--json", **environ) as (process, announced):
        url = f"{announced['url']}api/v0"
        port = int(announced["url"].split(":")[2].strip("/"))
        requests.put(f"{url}/files/p/whole", b"01234", headers=DUMMY, timeout=SECONDS)
        wait_until(lambda: "method=PUT prefix=p path=whole status=204" in read(first), SECONDS, "a line")
        config.write_text(logging_to(second))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        wait_until(lambda: "tracing memory" in read(second), SECONDS, "a trace")
        process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "traced memory" in read(second), SECONDS, "what takes memory")

        with half_an_upload(port, "begun") as connection:
            requests.get(f"{url}/health", timeout=SECONDS)  # what was sent before has arrived now
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(port), SECONDS, "a closed port")
            connection.sendall(b"56789")
            with HTTPResponse(connection) as reply:
                reply.begin()
                assert reply.status == 204
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, err
    assert "thread=MainThread" in read(second)
    assert "stopped" in read(second)
    with running("serve", "--port", 0, "--json", **environment(tmp_path)) as (_, announced):
        found = requests.get(f"{announced['url']}api/v0/files/p/begun", timeout=SECONDS)
    assert found.content == b"0123456789"


@pytest.mark.contract("K-506")
def test_upload_that_does_not_come_to_its_end_holds_nobody_up(tmp_path: Path) -> None:
    environ = environment(tmp_path, METEORPI_STOP_SECONDS="1")
    tus = DUMMY | {"Tus-Resumable": "1.0.0"}
    with running("serve", "--port", 0, "--json", **environ) as (process, announced):
        port = int(announced["url"].split(":")[2].strip("/"))
        names = {"Upload-Metadata": "prefix cA==,path cmVzdW1lZA==", "Upload-Length": "10"}
        begun = requests.post(f"{announced['url']}api/v0/uploads/", headers=tus | names, timeout=SECONDS)
        upload = begun.headers["Location"]
        piece = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        base = announced["url"].rstrip("/")
        url = upload if upload.startswith("http") else f"{base}{upload}"
        requests.patch(url, b"01234", headers=piece, timeout=SECONDS)
        with half_an_upload(port, "begun") as connection:
            requests.get(f"{base}/api/v0/health", timeout=SECONDS)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=SECONDS)
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""

    assert process.returncode == 0, err
    with running("serve", "--port", 0, "--json", **environ) as (_, announced):
        base = announced["url"].rstrip("/")
        missing = requests.get(f"{base}/api/v0/files/p/begun", timeout=SECONDS)
        resumed = requests.head(
            f"{base}/api/v0/uploads/{url.rpartition('/')[2]}", headers=tus, timeout=SECONDS
        )
    assert missing.status_code == 404
    assert (resumed.status_code, resumed.headers["Upload-Offset"]) == (200, "5")


@pytest.mark.contract("K-172", "A.12/port")
def test_workers_of_a_web_server_show_the_same_totals(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    port, metrics_port, log = free_port(), free_port(), tmp_path / "log"
    environ = environment(tmp_path, METEORPI_BLOCK_METRICS_PORT=str(metrics_port))
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads", "2"]
    with log.open("wb") as output:
        master = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}", "program"],
            cwd=tmp_path,
            env={**plain_environment(), **environ},
            stderr=output,
        )
        try:
            wait_until(lambda: log.read_text().count("Booting worker") == 2, SECONDS, "workers")
            wait_until(lambda: len(ports_of_metrics(log)) == 2, SECONDS, "ports of metrics")
            wait_until(lambda: is_listening(port), SECONDS, "a server")
            for number in range(10):
                url = f"http://127.0.0.1:{port}/api/v0/files/p/{number}"
                requests.put(url, b"12345", headers=DUMMY, timeout=SECONDS)
            for each in ports_of_metrics(log):
                wait_until(partial(has_totals, each, (10, 50, 0)), SECONDS, "the same totals")
        finally:
            master.terminate()
            master.wait(SECONDS)


def ports_of_metrics(log: Path) -> set[int]:
    return {int(found) for found in re.findall(r" metrics host=\S+ port=(\d+)", log.read_text())}


def has_totals(port: int, expected: tuple[int, int, int]) -> bool:
    """Whether so many requests, bytes received, and requests that are running are shown."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS).text
    found = dict(line.rpartition(" ")[::2] for line in text.splitlines() if not line.startswith("#"))
    names = ("block_response_time_count", "block_traffic_request", "block_in_progress_requests")
    return tuple(float(found[name]) for name in names) == expected


def plain_environment() -> dict[str, str]:
    """What a process needs of the environment of this one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}
