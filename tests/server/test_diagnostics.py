"""What a process tells when it is asked by a signal."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from meteorpi_db.testing.processes import free_port, process_tree, send_signal, wait_until
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import diagnostics
from meteorpi_server.diagnostics import Diagnostics
from meteorpi_server.logs import QUIET, configure_logging
from meteorpi_server.settings import Settings

ROOT = Path(__file__).parent.parent.parent
WORKERS = """
from meteorpi_server.diagnostics import answer_signals
from meteorpi_server.logs import configure_logging
from meteorpi_server.settings import Settings

configure_logging()
answer_signals(Settings())


def application(environ, start_response):
    start_response("204 No Content", [])
    return []
"""


@pytest.fixture(autouse=True)
def _kept_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


def configuration(log: Path, level: str = "INFO") -> str:
    handler = {"class": "logging.FileHandler", "filename": str(log), "formatter": "text"}
    return json.dumps(
        {
            "version": 1,
            "formatters": {"text": {"()": "meteorpi_server.logs.TextLines"}},
            "handlers": {"file": handler},
            "root": {"level": level, "handlers": ["file"]},
        }
    )


@pytest.mark.contract("K-504")
def test_log_goes_where_a_file_says(tmp_path: Path) -> None:
    log, config = tmp_path / "info.log", tmp_path / "logging.json"
    config.write_text(configuration(log))

    configure_logging("ERROR", config=str(config))
    logging.getLogger("meteorpi.block.access").info("request method=%s", "GET\nx")

    assert log.read_text().endswith(r" INFO meteorpi.block.access request method=GET\nx" + "\n")


@pytest.mark.contract("K-504")
def test_missing_configuration_is_a_warning_and_an_invalid_one_an_error(tmp_path: Path) -> None:
    stream, config = io.StringIO(), tmp_path / "logging.json"

    configure_logging(stream=stream, config=str(config))

    assert "WARNING meteorpi.server.logs there is no logging configuration" in stream.getvalue()
    for text in ("{", "[]", "{}", '{"version": 1, "root": {"handlers": ["x"]}}'):
        config.write_text(text)
        with pytest.raises(ConfigurationError, match="logging configuration"):
            configure_logging(stream=stream, config=str(config))


@pytest.mark.contract("K-504")
def test_configuration_is_read_again_and_kept_where_it_cannot_be(tmp_path: Path) -> None:
    first, second, config = tmp_path / "1.log", tmp_path / "2.log", tmp_path / "logging.json"
    config.write_text(configuration(first))
    configure_logging(config=str(config))
    found = Diagnostics(Settings(logging_config=str(config)))

    for text in ("{", '{"version": 1, "root": {"handlers": ["x"]}}'):
        config.write_text(text)
        found.answer(signal.SIGHUP)
    config.unlink()
    found.answer(signal.SIGHUP)
    config.write_text(configuration(second))
    found.answer(signal.SIGHUP)

    lines = first.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["ERROR", "ERROR", "WARNING"]
    assert "the log goes on" in lines[1]
    assert "logging configuration read again" in second.read_text()


@pytest.mark.contract("K-504", "A.14/logging")
def test_shipped_configurations_can_be_used(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        for name in ("file", "syslog", "stdout"):
            text = (ROOT / "deploy" / "logging" / f"{name}.json").read_text()
            config = tmp_path / f"{name}.json"
            config.write_text(
                text.replace("/var/log/meteorpi", str(tmp_path)).replace("/dev/", f"{tmp_path}/")
            )
            configure_logging(config=str(config))
            logging.getLogger("meteorpi.block.objects").info("hello %s", name)
        datagram = syslog.recv(1000)

    assert (tmp_path / "info.log").read_text().endswith("INFO meteorpi.block.objects hello file\n")
    assert b"INFO meteorpi.block.objects hello syslog" in datagram
    assert json.loads(capfd.readouterr().out)["message"] == "hello stdout"


@pytest.mark.contract("K-505", "A.14/signals")
def test_stacks_of_all_threads_are_written(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, args=(60,), name="a thread that waits")
    thread.start()

    Diagnostics(Settings()).answer(signal.SIGUSR1)
    ended.set()
    thread.join(60)

    stacks = {line.getMessage().partition("thread=")[2]: line.stack_info for line in caplog.records[1:]}
    assert "ended.wait" in str(stacks["a thread that waits"]) or "wait(" in str(stacks["a thread that waits"])
    assert "log_stacks" in str(stacks["MainThread"])


@pytest.mark.contract("K-505", "KD-21", "A.14/signals")
def test_allocations_are_traced_and_the_number_of_lines_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    found = Diagnostics(Settings.from_environ({"METEORPI_TRACE_LINES": "3", "METEORPI_CONFIG": ""}))

    found.answer(signal.SIGUSR2)
    kept = [bytes(1000) for _ in range(1000)]
    was_tracing = tracemalloc.is_tracing()
    found.answer(signal.SIGUSR2)

    lines = [line.getMessage() for line in caplog.records]
    assert (was_tracing, tracemalloc.is_tracing()) == (True, False)
    assert len(kept) == 1000
    assert [line.split()[0] for line in lines] == ["tracing", "traced", "memory", "memory", "memory"]
    assert f"at={__file__}:" in lines[2]


@pytest.mark.contract("K-505")
def test_signals_are_handed_on_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, handed_on = threading.Event(), threading.Event()
    monkeypatch.setattr(diagnostics, "log_stacks", answered.set)
    before = signal.signal(signal.SIGUSR1, lambda *_: handed_on.set())
    try:
        with diagnostics.answering_signals(Settings()):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert answered.wait(60)
        restored = signal.getsignal(signal.SIGUSR1)
        answered.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert handed_on.is_set()
    assert restored is not before
    assert not answered.is_set()


@pytest.mark.contract("K-505", "A.14/signals")
def test_workers_answer_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WORKERS)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        master = subprocess.Popen([*command, "program"], cwd=tmp_path, stderr=output)
        try:
            wait_until(lambda: log.read_text().count("Booting worker") == 2, 60, "two workers")
            wait_until(lambda: is_answering(port), 60, "an answer")
            workers = [pid for pid in process_tree(master.pid) if pid != master.pid]
            wait_until(lambda: all(map(is_listening, workers)), 60, "workers that listen to signals")
            send_signal(workers, signal.SIGUSR1)
            wait_until(lambda: log.read_text().count("thread=signals") == 2, 60, "stacks of both")
        finally:
            master.terminate()
            master.wait(60)

    order = [
        line.split("process=")[1].split()[0] for line in log.read_text().splitlines() if "process=" in line
    ]
    assert len(workers) == 2
    assert sum(before != after for before, after in itertools.pairwise(order)) == 1


def is_answering(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 204
    except requests.ConnectionError:
        return False


def is_listening(pid: int) -> bool:
    """Whether a process has taken over its signals."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) & 1 << (signal.SIGUSR2 - 1) and int(caught, 16) & 1 << (signal.SIGHUP - 1))
