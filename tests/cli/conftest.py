"""The command line in the present process, in a directory of its own with its own database."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase, NewFile
from meteorpi_model import CameraStatus, FileRecord, Location, Meta, NSString, Orientation
from meteorpi_server import MeteorServer
from meteorpi_server.cli.entry import run
from meteorpi_server.logs import JsonLines, TextLines

OWN_CAMERA = "demo00000001"
START = datetime(2015, 4, 1)


@dataclass(frozen=True)
class Done:
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only line of output, read as JSON."""
        (row,) = self.rows
        return row

    @property
    def rows(self) -> list[Any]:
        """Each line of output, read as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


Meteorpi = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the commands; the environment has no settings but the camera id."""
    for name in [name for name in os.environ if name.startswith("METEORPI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METEORPI_CONFIG", "")  # whatever this machine has in /etc
    monkeypatch.setenv("METEORPI_INSTALLATION_ID", OWN_CAMERA)
    monkeypatch.setenv("METEORPI_DB_PATH", str(tmp_path / "node.db"))
    monkeypatch.setenv("METEORPI_FILE_STORE", str(tmp_path / "files"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def _own_log() -> Iterator[None]:
    """Take back what commands do to the log of this process: the stream they write to ends with the test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if isinstance(handler.formatter, TextLines | JsonLines):
            root.removeHandler(handler)


@pytest.fixture
def meteorpi(
    _own_log: None, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Meteorpi:
    """Call it as the console script is called; `given` is standard input."""

    def call(*arguments: object, given: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8"))
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def node(home: Path) -> Iterator[MeteorDatabase]:
    """The database that the commands use, opened beside them, with a status of the own camera."""
    with MeteorDatabase(home / "node.db", home / "files", installation_id=OWN_CAMERA) as database:
        add_status(database)
        yield database


@pytest.fixture
def server(node: MeteorDatabase, home: Path) -> Iterator[MeteorServer]:
    """The same node over HTTP."""
    made = MeteorServer(str(home / "node.db"), str(home / "files"), 0)
    stop = made.start_non_blocking()
    yield made
    stop()
    made.db.close()


def add_status(database: MeteorDatabase, time: datetime = START, camera_id: str = OWN_CAMERA) -> None:
    status = CameraStatus(
        "a_lens", "a_sensor", None, "Farm", Orientation(50, 180), Location(52.2, 0.1), camera_id
    )
    database.update_camera_status(status, time, camera_id)


def add_file(
    database: MeteorDatabase,
    minute: int,
    content: bytes = b"content",
    *,
    camera_id: str = OWN_CAMERA,
    mime_type: str = "image/png",
    semantic_type: str = "timelapse/frame",
    file_name: str | None = None,
    metas: tuple[Meta, ...] = (),
) -> FileRecord:
    new = NewFile(
        mime_type=mime_type,
        semantic_type=NSString(semantic_type),
        file_time=START + timedelta(minutes=minute),
        camera_id=camera_id,
        file_name=file_name,
        metas=metas,
    )
    return database.add_file(new, [content])
