"""The queue over HTTP: a turn is waited for, used, and passed on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from meteorpi_client import MeteorClient
from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.register import ArchiveRegister
from meteorpi_model import FileRecord
from meteorpi_server import MeteorApp, MeteorServer, archive_api
from meteorpi_server.settings import Settings
from tests.cli.conftest import OWN_CAMERA, add_file, add_status

pytestmark = pytest.mark.engines("sqlite")

QUEUED: dict[str, Any] = {"no_queue": False, "simultaneous_downloads_limit": 1}
DEADLINE_SECONDS = 60


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MeteorDatabase]:
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files", installation_id=OWN_CAMERA) as database:
        add_status(database)
        yield database


@pytest.fixture
def records(node: MeteorDatabase) -> list[FileRecord]:
    return [add_file(node, minute, bytes([minute]) * 200_000) for minute in range(3)]


@pytest.fixture
def secret(node: MeteorDatabase) -> str:
    return ArchiveRegister(node.transactions).add_client("portal")


@pytest.fixture
def web(node: MeteorDatabase) -> FlaskClient:
    """A node that sends one archive at a time."""
    meteor_app = MeteorApp(node, Settings())
    archive_api.add_routes(meteor_app, **QUEUED)
    return meteor_app.app.test_client()


def ticket_of(web: FlaskClient, secret: str, records: list[FileRecord]) -> str:
    items = [{"record": record.file_id.hex} for record in records if record.file_id]
    answer = web.post("/ticket/generate", json={"items": items}, headers={"Authorization": secret})
    assert answer.status_code == 200
    assert answer.json is not None
    assert not answer.json["available"]
    return str(answer.json["id"])


def state(web: FlaskClient, ticket_id: str) -> tuple[str, int, bool]:
    document = web.get(f"/ticket/{ticket_id}").json
    assert document is not None
    return document["state"], document["position"], document["available"]


@pytest.mark.contract("archive-3.9/queue", "archive-fpx/queue", "archive-defect-16")
def test_ticket_is_downloaded_in_its_turn_only(
    web: FlaskClient, secret: str, records: list[FileRecord]
) -> None:
    first, second = ticket_of(web, secret, records), ticket_of(web, secret, records)
    too_early = web.get(f"/ticket/{first}/download")
    assert state(web, first) == ("new", 0, False)

    assert web.get(f"/ticket/{first}/wait").json == {"position": -1, "available": True}
    assert web.get(f"/ticket/{second}/wait?timeout=0").json == {"position": 0, "available": False}
    assert state(web, first) == ("available", -1, True)
    assert state(web, second) == ("queued", 0, False)
    download = web.get(f"/ticket/{first}/download", buffered=False)
    chunks = download.iter_encoded()
    next(chunks)

    assert state(web, first)[0] == "active"
    assert web.get(f"/ticket/{second}/download").status_code == 403
    assert too_early.status_code == 403
    assert too_early.json is not None
    assert list(too_early.json["errors"]) == ["access"]

    download.close()

    assert web.get(f"/ticket/{second}/wait?timeout=0").json == {"position": -1, "available": True}
    assert web.get(f"/ticket/{second}/download").status_code == 200


@pytest.mark.contract("archive-3.9/parallel")
def test_parts_of_a_ticket_share_its_slot(web: FlaskClient, secret: str, records: list[FileRecord]) -> None:
    ticket_id = ticket_of(web, secret, records)
    web.get(f"/ticket/{ticket_id}/wait")

    open_parts = [
        web.get(f"/ticket/{ticket_id}/download", headers={"Range": f"bytes={n}-"}, buffered=False)
        for n in range(4)
    ]
    one_more = web.get(f"/ticket/{ticket_id}/download", headers={"Range": "bytes=9-"})

    assert [part.status_code for part in open_parts] == [206] * 4
    assert one_more.status_code == 429
    assert "Retry-After" in one_more.headers
    for part in open_parts:
        part.close()
    assert web.head(f"/ticket/{ticket_id}/download").status_code == 200


@pytest.mark.contract("archive-3.9/wait")
def test_events_are_told_over_http(web: FlaskClient, secret: str, records: list[FileRecord]) -> None:
    ticket_id = ticket_of(web, secret, records)

    answer = web.get(f"/ticket/{ticket_id}/wait", headers={"Accept": "text/event-stream"})

    assert answer.content_type == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert json.loads(answer.text.removeprefix("data: ")) == {"position": -1, "available": True}


def test_what_cannot_be_waited_for_is_told(web: FlaskClient, secret: str, records: list[FileRecord]) -> None:
    ticket_id = ticket_of(web, secret, records)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}

    assert web.get(f"/ticket/{uuid4()}/wait").status_code == 404
    assert web.get(f"/ticket/{ticket_id}/wait?timeout=soon").status_code == 422
    assert web.post(f"/ticket/{ticket_id}/wait").status_code == 405
    assert web.get(f"/ticket/{ticket_id}/wait", headers=upgrade).status_code == 426


def test_nothing_is_waited_for_without_a_queue(
    node: MeteorDatabase, secret: str, records: list[FileRecord]
) -> None:
    meteor_app = MeteorApp(node, Settings())
    archive_api.add_routes(meteor_app)
    web = meteor_app.app.test_client()
    items = [{"record": record.file_id.hex} for record in records if record.file_id]
    made = web.post("/ticket/generate", json={"items": items}, headers={"Authorization": secret}).json
    assert made is not None

    events = web.get(f"/ticket/{made['id']}/wait", headers={"Accept": "text/event-stream"})

    assert made["available"]
    assert web.get(f"/ticket/{made['id']}/wait").json == {"position": -1, "available": True}
    assert events.text == 'data: {"position": -1, "available": true}\n\n'


@pytest.mark.contract("archive-3.20/fetch", "archive-3.9/queue")
def test_clients_take_turns_at_a_real_server(
    tmp_path: Path, node: MeteorDatabase, secret: str, records: list[FileRecord]
) -> None:
    """Three at once, one slot: each waits, downloads, and reads every byte."""
    server = MeteorServer(str(tmp_path / "node.db"), str(tmp_path / "files"), 0, add_routes=False)
    archive_api.add_routes(server.meteor_app, **QUEUED)
    stop = server.start_non_blocking()
    items = [{"record": record.file_id.hex} for record in records if record.file_id]
    failures: list[BaseException] = []

    def fetch(number: int) -> None:
        try:
            with MeteorClient(server.base_url(), token=secret) as client:
                ticket = client.archives.make_ticket(items)
                fetched = client.archives.download(ticket.ticket_id, tmp_path / f"{number}.zip")
                assert fetched.report is not None
                assert fetched.report.is_right
        except BaseException as error:  # told by the test, in its own thread
            failures.append(error)
            raise

    threads = [threading.Thread(target=fetch, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    stop()
    server.db.close()

    assert failures == []
    assert len({(tmp_path / f"{number}.zip").read_bytes() for number in range(3)}) == 1
