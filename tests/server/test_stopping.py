"""What goes on by itself learns at once that its process has to end, under every kind of server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meteorpi_server import stopping
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer
from tests.system import fastcgi

# A handler of a signal may come while something is printed, so these write by themselves.
TELLS = """import os
from meteorpi_server.stopping import tell_of_stop
tell_of_stop(lambda: os.write(1, b'told '))
"""
WAITS = "import signal; print('ready', flush=True); signal.pause()\n"
SERVES_BEFORE = """import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 * os.write(1, b'handled ')))
"""
SERVES_AFTER = """from meteorpi_server.fastcgi import PatientServer
class Server(PatientServer):
    def _installSignalHandlers(self):
        super()._installSignalHandlers()
        print('ready', flush=True)
Server(lambda environ, start_response: [], 2).run()
"""

pytestmark = pytest.mark.contract("issue-3.3/stop")


def ended(program: str, **options: Any) -> tuple[int, list[str]]:
    """Exit status of a program that is told to end when it is ready, and what it said after that."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
            words = process.stdout.read().split()
            return process.wait(20), words
        finally:
            process.kill()


def test_server_that_handles_signals_already_goes_on_to_do_so() -> None:
    assert ended(SERVES_BEFORE + TELLS + TELLS + WAITS) == (0, ["told", "told", "handled"])


def test_process_without_a_server_ends_as_it_did() -> None:
    assert ended(TELLS + WAITS) == (-signal.SIGTERM, [])


def test_fastcgi_server_tells_although_it_sets_its_handlers_late(tmp_path: Path) -> None:
    with fastcgi.listen(tmp_path / "socket") as listener:
        assert ended(TELLS + SERVES_AFTER, stdin=listener) == (0, ["told"])


def test_mod_wsgi_tells_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    subscribed: list[Any] = []
    told: list[str] = []
    monkeypatch.setattr(stopping, "_told", [])
    monkeypatch.setitem(sys.modules, "mod_wsgi", SimpleNamespace(subscribe_shutdown=subscribed.append))

    for name in ("first", "second"):
        stopping.tell_of_stop(lambda name=name: told.append(name))  # type: ignore[misc]
    for subscriber in subscribed:
        subscriber("shutdown", reason="")

    assert told == ["first", "second"]


def test_standalone_server_tells_before_it_answers_what_is_in_flight() -> None:
    told: list[str] = []
    server = StandaloneServer(
        lambda _environ, _start_response: [],
        Settings(host="127.0.0.1"),
        0,
        on_stop=lambda: told.append("told"),
    )

    server.stop()

    assert told == ["told"]
    server.run()
