"""A node on Firebird ends on SIGTERM, and answers first what was asked: under every server it may run on.

The Firebird client library takes the signal over with its first connection; left alone, the process would go
on with all its connections closed.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from meteorpi_db.testing.processes import LOOPBACK, free_port, wait_until
from tests.components import started
from tests.deployment.servers import ApacheNode
from tests.system import fastcgi

Fetch = Callable[[str], tuple[int, bytes]]
START_SECONDS = 30.0
STOP_SECONDS = 2.0
# Its main loop looks once a second whether to go on, and so does its pool of threads.
FLUP_STOP_SECONDS = 4.0
MODULE = "tests.system.held_app"
APACHE_SCRIPT = f"""\
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from meteorpi_server.fronting import with_address_as_sent
from {MODULE} import make_application

application = with_address_as_sent(DispatcherMiddleware(None, {{"/api": make_application()}}))
"""


class HeldApache(ApacheNode):
    """Apache that serves the application with the request that is held up, from one process."""

    def __init__(self, db_path: str) -> None:
        super().__init__(processes=1)
        self._db_path = db_path
        self.script = self.directory / "application.py"
        self.script.write_text(APACHE_SCRIPT)
        os.mkfifo(self.directory / "go")

    def environment(self) -> dict[str, str]:
        """What `tests.system.held_app` reads."""
        return super().environment() | {"TEST_DB_PATH": self._db_path, "TEST_DIRECTORY": str(self.directory)}


class Running(NamedTuple):
    """A server that answers, its process, and how long it may take to stop."""

    process: subprocess.Popen[bytes]
    fetch: Fetch
    directory: Path
    stop_seconds: float = STOP_SECONDS


def fetch_over_http(port: int, url_path: str = "") -> Fetch:
    def fetch(path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        try:
            connection.request("GET", url_path + path, headers={"Connection": "close"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    return fetch


def fetch_over_fastcgi(address: Path) -> Fetch:
    def fetch(path: str) -> tuple[int, bytes]:
        reply = fastcgi.get(address, path)
        return reply.status, reply.body

    return fetch


def answers(fetch: Fetch) -> bool:
    try:
        return fetch("/cameras")[0] == 200
    except ConnectionError:
        return False


def has_taken(pid: int, number: signal.Signals) -> bool:
    """Whether no signal `number` waits for process `pid` any more (proc(5), ``ShdPnd``), or it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return True
    facts = dict(line.split(":\t", 1) for line in lines)
    return facts["State"].startswith("Z") or not int(facts["ShdPnd"], 16) >> (number - 1) & 1


def is_released(pipe: Path) -> bool:
    """Let the reader of `pipe` go on; False as long as there is none."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True


@contextmanager
def own_program(name: str, variables: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", MODULE, name, str(port)]
    with subprocess.Popen(command, env=os.environ | variables) as process:
        yield Running(process, fetch_over_http(port), Path(variables["TEST_DIRECTORY"]))


@contextmanager
def gunicorn(_name: str, variables: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    options = [f"--bind={LOOPBACK}:{port}", "--worker-class=gthread", "--threads=4", "--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", *options, f"{MODULE}:make_application()"]
    with subprocess.Popen(command, env=os.environ | variables) as process:
        yield Running(process, fetch_over_http(port), Path(variables["TEST_DIRECTORY"]))


@contextmanager
def flup(name: str, variables: Mapping[str, str]) -> Iterator[Running]:
    directory = Path(variables["TEST_DIRECTORY"])
    address = directory / "socket"
    command = [sys.executable, "-m", MODULE, name, "0"]
    with (
        fastcgi.listen(address) as listener,
        subprocess.Popen(command, env=os.environ | variables, stdin=listener.fileno()) as process,
    ):
        yield Running(process, fetch_over_fastcgi(address), directory, FLUP_STOP_SECONDS)


SERVERS = {
    "MeteorServer": own_program,
    "cheroot": own_program,
    "flup": flup,
    "gunicorn": gunicorn,
    "standalone": own_program,
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, db_path: str, tmp_path: Path) -> Iterator[Running]:
    variables = {"TEST_DB_PATH": db_path, "TEST_DIRECTORY": str(tmp_path)}
    os.mkfifo(tmp_path / "go")
    with SERVERS[request.param](request.param, variables) as running:
        try:
            wait_until(lambda: answers(running.fetch), START_SECONDS, f"start of {request.param}")
            yield running
        finally:
            running.process.kill()


@pytest.fixture
def apache(db_path: str) -> Iterator[HeldApache]:
    with ExitStack() as stack:
        yield started(stack, lambda: HeldApache(db_path))


def answer_while_stopping(pid: int, fetch: Fetch, directory: Path) -> tuple[int, bytes]:
    """Send SIGTERM to `pid` while it works on a request, and give the answer to that request."""
    with ThreadPoolExecutor(1) as caller:
        reply = caller.submit(fetch, "/held")
        wait_until((directory / "begun").exists, START_SECONDS, "arrival of the request")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: has_taken(pid, signal.SIGTERM), STOP_SECONDS, "delivery of the signal")
        wait_until(
            lambda: is_released(directory / "go") or reply.done(), START_SECONDS, "release of the request"
        )
        return reply.result()


@pytest.mark.contract("B-58", "stop/sigterm", "7.2/start")
@pytest.mark.engines("firebird", "firebird-embedded")
def test_request_in_flight_is_answered_before_sigterm_ends_the_server(server: Running) -> None:
    status, body = answer_while_stopping(server.process.pid, server.fetch, server.directory)

    assert (status, json.loads(body)) == (200, {"before": [], "after": []})
    assert server.process.wait(server.stop_seconds) == 0


# Apache runs as an account of its own, which could not open an embedded database of ours.
@pytest.mark.contract("B-58", "stop/sigterm")
@pytest.mark.engines("firebird")
def test_request_in_flight_is_answered_before_sigterm_ends_the_process_of_mod_wsgi(
    apache: HeldApache,
) -> None:
    fetch = fetch_over_http(apache.port, "/api")
    (pid,) = apache.processes()

    status, body = answer_while_stopping(pid, fetch, apache.directory)

    assert (status, json.loads(body)) == (200, {"before": [], "after": []})
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), STOP_SECONDS, "end of the process")
    wait_until(lambda: answers(fetch), START_SECONDS, "start of its successor")


@pytest.mark.contract("B-58", "stop/sigterm")
@pytest.mark.engines("firebird")
def test_sigterm_ends_apache(apache: HeldApache) -> None:
    process = apache.process

    process.terminate()

    assert process.wait(STOP_SECONDS) == 0
