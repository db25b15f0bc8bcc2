"""Two nodes for replication tests: a night at a station, a hub that serves, exporters that can be killed.

Also run as ``python -m tests.system.replication TASK ...`` for the parts that need a process of their own.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from waitress.server import create_server

from meteorpi_db import MeteorDatabase
from meteorpi_db.exporter import MeteorExporter, Timeouts
from meteorpi_db.testing.processes import LOOPBACK
from meteorpi_model import (
    CameraStatus,
    Event,
    EventSearch,
    ExportConfiguration,
    FileRecord,
    FileRecordSearch,
    Location,
    Meta,
    NSString,
    Orientation,
)
from meteorpi_server import MeteorApp, importer_api
from meteorpi_server.settings import Settings
from meteorpi_server.standalone import StandaloneServer

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CAMERAS = ("camera_north", "camera_south")
START = datetime(2015, 4, 1, 20, 0)
USER, PASSWORD = "importer", "pass word ☄"
SHORT = Timeouts(connect=5, read=10, reply=20)


def status_of(camera_id: str) -> CameraStatus:
    return CameraStatus(
        lens="VF-DCD-AI-3.5-18-C-2MP",
        sensor="watec_902h2_ultimate",
        inst_url=None,
        inst_name=f"Station {camera_id}",
        orientation=Orientation(altitude=45.0, azimuth=180.0, error=1.0, rotation=3.5, width_of_field=30.0),
        location=Location(latitude=52.2, longitude=0.1, gps=True, error=2.0),
        camera_id=camera_id,
    )


def add_statuses(db: MeteorDatabase) -> None:
    for camera_id in CAMERAS:
        db.update_camera_status(status_of(camera_id), time=START - timedelta(hours=1), camera_id=camera_id)


def add_file(
    db: MeteorDatabase, directory: Path, number: int, *, size: int = 1000, camera_id: str = CAMERAS[0]
) -> FileRecord:
    """Register a file with content that is its own."""
    path = directory / f"incoming_{number}"
    path.write_bytes(random.Random(number).randbytes(size))
    return db.register_file(
        file_path=path,
        mime_type="image/png",
        semantic_type=NSString("timelapse/frame"),
        file_time=START + timedelta(minutes=number),
        file_metas=[Meta(NSString("skyClarity"), number), Meta(NSString("note"), f"Aufnahme №{number}")],
        camera_id=camera_id,
        file_name=f"frame {number}.png",
    )


def add_event(db: MeteorDatabase, directory: Path, number: int, *, files: int = 2, size: int = 1000) -> Event:
    """Register an event with files; the last of several is from the other camera."""
    records = [
        add_file(
            db,
            directory,
            number * 100 + position,
            size=size,
            camera_id=CAMERAS[1] if position and position == files - 1 else CAMERAS[0],
        )
        for position in range(files)
    ]
    return db.register_event(
        camera_id=CAMERAS[0],
        event_time=START + timedelta(minutes=number),
        event_type=NSString("meteorpi"),
        file_records=records,
        event_meta=[Meta(NSString("duration"), 1.5)],
    )


def add_night(db: MeteorDatabase, directory: Path, *, files: int, events: int, size: int = 1000) -> None:
    add_statuses(db)
    for number in range(files):
        add_file(db, directory, number, size=size, camera_id=CAMERAS[number % 2])
    for number in range(1000, 1000 + events):
        add_event(db, directory, number, size=size)


def export_to(
    db: MeteorDatabase,
    target_url: str,
    *,
    kinds: str = "file event",
    user: str = USER,
    password: str = PASSWORD,
) -> list[ExportConfiguration]:
    """Enable an export of everything of these kinds."""
    searches: dict[str, FileRecordSearch | EventSearch] = {
        "file": FileRecordSearch(limit=0),
        "event": EventSearch(limit=0),
    }
    return [
        db.create_or_update_export_configuration(
            ExportConfiguration(
                target_url, user, password, searches[kind], kind, f"all {kind}s", enabled=True
            )
        )
        for kind in kinds.split()
    ]


def content_of(db: MeteorDatabase, file_id: Any) -> bytes:
    return b"".join(db.store.open(file_id))


def holdings(db: MeteorDatabase) -> dict[str, Any]:
    """Everything that replication must make equal: records in full, and a digest of each content."""
    events = {event.event_id.hex: event.as_dict() for event in db.iterate_events() if event.event_id}
    records = {record.file_id.hex: record.as_dict() for record in db.iterate_files() if record.file_id}
    digests = {file_id.hex: hashlib.sha256(content_of(db, file_id)).hexdigest() for file_id in db.store.ids()}
    return {"events": events, "files": records, "contents": digests}


class Hub:
    """A node that takes imports, served from a thread of this process.

    Args:
        db: its database; the account `USER` is made in it.
        port: 0 takes a free one.

    Attributes:
        requests: number of requests that have come.
    """

    def __init__(self, db: MeteorDatabase, port: int = 0) -> None:
        self.db = db
        self.requests = 0
        db.create_or_update_user(USER, PASSWORD, ["import"])
        self.meteor_app = MeteorApp(db=db)
        importer_api.add_routes(meteor_app=self.meteor_app)
        self.meteor_app.app.before_request(self._count)
        self._server = StandaloneServer(self.meteor_app.app, Settings(host=LOOPBACK, threads=4), port)
        self.port: int = self._server.port

    def _count(self) -> None:
        self.requests += 1

    @property
    def url(self) -> str:
        """The import route."""
        return f"http://{LOOPBACK}:{self.port}/import"

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        """Serve inside the block."""
        thread = threading.Thread(target=self._server.run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.stop()
            thread.join()


@contextmanager
def process(task: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a task of this module in a process of its own; killed at the end if it has not ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.system.replication", task, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def word_of(child: subprocess.Popen[str]) -> str:
    """The next thing that a process says; empty when it has ended."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str], word: str) -> None:
    """Say something to a process."""
    assert child.stdin is not None
    child.stdin.write(word + "\n")
    child.stdin.flush()


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def hub_application(db_path: str, store: str) -> Flask:
    """A node that takes imports, as a WSGI application."""
    meteor_app = MeteorApp(db=MeteorDatabase(db_path=db_path, file_store_path=store))
    importer_api.add_routes(meteor_app=meteor_app)
    return meteor_app.app


def task_hub(db_path: str, store: str, port: str) -> None:
    """Serve imports with waitress until killed."""
    server = create_server(hub_application(db_path, store), host=LOOPBACK, port=int(port), threads=4)
    say("serving")
    server.run()


def task_cheroot(db_path: str, store: str, port: str) -> None:
    """Serve imports with cheroot until killed."""
    from cheroot.wsgi import Server

    server = Server((LOOPBACK, int(port)), hub_application(db_path, store), numthreads=4)
    server.prepare()
    say("serving")
    server.serve()


def export_until_stopped(db_path: str, store: str, lease_seconds: str) -> None:
    """Run rounds until terminated or killed."""
    stopped = threading.Event()
    with MeteorDatabase(db_path=db_path, file_store_path=store) as db:
        exporter = MeteorExporter(
            db, defer_on_failure_seconds=0, lease_seconds=float(lease_seconds), timeouts=SHORT
        )
        signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
        say("ready")
        while not stopped.wait(0.02):
            exporter.run_round()
        exporter.close()


def task_exporters(*arguments: str) -> None:
    """For each line of input start an exporter in a fork, which is quick; say its id, and when it ended."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            export_until_stopped(*arguments)
            os._exit(0)
        say(child)
        os.waitpid(child, 0)
        say("ended")


TASKS: dict[str, Callable[..., None]] = {
    "hub": task_hub,
    "cheroot": task_cheroot,
    "export": export_until_stopped,
    "exporters": task_exporters,
}

if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
