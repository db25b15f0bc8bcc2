"""The archive server without a node in a process of its own, and what tests ask of it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

NAME = "3bea29ccabbbf64bdebcc055319c5745"
"""A directory that has an address."""

MODULE = [sys.executable, "-m", "meteorpi_server.cli.archive_server"]


def make_photos(storage: Path) -> Path:
    """A storage with one directory that has an address, and one that has none."""
    (storage / NAME).mkdir(parents=True)
    (storage / NAME / "1.jpg").write_bytes(b"jpeg" * 1000)
    (storage / "short").mkdir()
    return storage


@contextmanager
def served(folder: Path, *options: object, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own in `folder`, and its address."""
    kept = {"PATH": os.environ["PATH"], "METEORPI_CONFIG": "", **environ}
    process = subprocess.Popen(
        [*MODULE, "--json", *map(str, options)],
        cwd=folder,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)[1]
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.communicate(timeout=60)


def ended(process: subprocess.Popen[str]) -> str:
    """Have a server end as a supervisor does; gives its standard error."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return err


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def names_in(body: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        return archive.namelist()
