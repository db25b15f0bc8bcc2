"""The import routes and the receiver behind them, asked as an exporter would."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus, Event, FileRecord, Meta, NSString
from meteorpi_server import MeteorApp, importer_api
from meteorpi_server.importer_api import (
    BaseImportReceiver,
    ImportRequest,
    IncomingFile,
    MeteorDatabaseImportReceiver,
)
from meteorpi_server.importer_api.import_request import Entity
from tests.system.replication import CAMERAS, START, status_of

pytestmark = pytest.mark.engines("sqlite")
every_engine = pytest.mark.engines("sqlite", "firebird", "firebird-embedded", "postgresql")
CONTENT = b"what the camera saw"


class Sender:
    """What an account sends, request by request."""

    def __init__(self, client: FlaskClient, user: str = "sender", url: str = "/import") -> None:
        self._client = client
        self._url = url
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:pass".encode()).decode()}

    def post(self, document: object) -> Any:
        """The whole answer to a document."""
        return self._client.post(self._url, data=json.dumps(document), headers=self._headers)

    def send(self, document: object) -> Any:
        """The reply to a document."""
        answer = self.post(document)
        assert answer.status_code == 200, answer.text
        return answer.json

    def announce(self, entity: Event | FileRecord | CameraStatus) -> Any:
        kind = {Event: "event", FileRecord: "file", CameraStatus: "status"}[type(entity)]
        return self.send({"type": kind, kind: entity.as_dict()})

    def again(self, entity_id: uuid.UUID | None) -> Any:
        assert entity_id is not None
        return self.send({"type": "cached_entity", "cached_entity_id": entity_id.hex})

    def upload(self, file_id: uuid.UUID | None, content: bytes = CONTENT, md5: str | None = None) -> Any:
        """The whole answer to an upload."""
        assert file_id is not None
        body = (
            b'--X\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            b"Content-Type: image/png\r\n\r\n" + content + b"\r\n--X--\r\n"
        )
        return self._client.post(
            f"{self._url}/data/{file_id.hex}/{md5 or hashlib.md5(content).hexdigest()}",
            data=body,
            content_type="multipart/form-data; boundary=X",
            headers=self._headers,
        )


@pytest.fixture
def meteor_app(db: MeteorDatabase) -> MeteorApp:
    meteor_app = MeteorApp(db=db)
    importer_api.add_routes(meteor_app=meteor_app)
    for user in ("sender", "other"):
        db.create_or_update_user(user, "pass", ["import"])
    return meteor_app


@pytest.fixture
def client(meteor_app: MeteorApp) -> FlaskClient:
    return meteor_app.app.test_client()


@pytest.fixture
def sender(client: FlaskClient) -> Sender:
    return Sender(client)


def new_status(camera_id: str = CAMERAS[0]) -> CameraStatus:
    status = status_of(camera_id)
    status.status_id = uuid.uuid4()
    status.valid_from = START - timedelta(hours=1)
    status.software_version = 7
    return status


def new_file(status: CameraStatus, content: bytes = CONTENT) -> FileRecord:
    assert status.status_id is not None
    record = FileRecord(
        status.camera_id,
        "image/png",
        NSString("timelapse/frame"),
        status.status_id,
        file_name="a.png",
        md5=hashlib.md5(content).hexdigest(),
    )
    record.file_id = uuid.uuid4()
    record.file_time = START
    record.file_size = len(content)
    record.meta = [Meta(NSString("skyClarity"), 50)]
    return record


def new_event(status: CameraStatus, files: list[FileRecord]) -> Event:
    assert status.status_id is not None
    return Event(status.camera_id, START, uuid.uuid4(), NSString("meteorpi"), status.status_id, files, [])


# --- the tables of section 6


@pytest.mark.contract("6.3/event", "6.3/transcript", "6.2/upload", "8.3/import", "8.3/data", "B-31")
@every_engine
def test_event_with_two_files_of_two_cameras(sender: Sender, db: MeteorDatabase) -> None:
    """The typical transcript, with a status for the embedded file of the other camera besides."""
    north, south = new_status(CAMERAS[0]), new_status(CAMERAS[1])
    first, second = new_file(north), new_file(south, b"second")
    event = new_event(north, [first, second])
    assert north.status_id is not None
    assert south.status_id is not None
    assert first.file_id is not None
    assert second.file_id is not None

    assert sender.announce(event) == {"state": "need_status", "status_id": north.status_id.hex}
    assert sender.announce(north) == {"state": "continue"}
    assert sender.again(event.event_id) == {"state": "need_status", "status_id": south.status_id.hex}
    assert sender.announce(south) == {"state": "continue"}
    assert sender.again(event.event_id) == {"state": "need_file_data", "file_id": first.file_id.hex}
    assert sender.upload(first.file_id).json == {"state": "continue"}
    assert sender.again(event.event_id) == {"state": "need_file_data", "file_id": second.file_id.hex}
    assert sender.upload(second.file_id, b"second").json == {"state": "continue"}
    assert sender.again(event.event_id) == {"state": "complete"}

    held = db.get_event(event.event_id) if event.event_id else None
    assert held == event
    assert b"".join(db.open_content(first.file_id)) == CONTENT
    assert db.get_camera_status_by_id(south.status_id) == south


@pytest.mark.contract("6.3/file", "9/database-receiver")
@every_engine
def test_file_is_imported_once_its_content_is_here(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    record = new_file(status)
    assert record.file_id is not None
    assert sender.announce(status) == {"state": "continue"}

    assert sender.announce(record) == {"state": "need_file_data", "file_id": record.file_id.hex}
    assert not db.has_file_id(record.file_id)
    sender.upload(record.file_id)
    assert sender.again(record.file_id) == {"state": "complete"}
    assert sender.announce(record) == {"state": "complete"}

    assert db.get_file(record.file_id) == record


@pytest.mark.contract("6.3/event", "B-21")
def test_event_whose_file_was_imported_before_is_imported(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    record = new_file(status)
    push_file(sender, status, record)

    assert sender.announce(new_event(status, [record])) == {"state": "complete"}


def push_file(sender: Sender, status: CameraStatus, record: FileRecord, content: bytes = CONTENT) -> None:
    sender.announce(status)
    sender.announce(record)
    sender.upload(record.file_id, content)
    assert sender.again(record.file_id) == {"state": "complete"}


@pytest.mark.contract("6.3/status")
def test_status_is_stored_once(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    changed = CameraStatus.from_dict(status.as_dict() | {"lens": "another"})

    assert sender.announce(status) == {"state": "continue"}
    assert sender.announce(changed) == {"state": "continue"}

    assert status.status_id is not None
    assert db.get_camera_status_by_id(status.status_id) == status


@pytest.mark.contract("6.3/else")
@pytest.mark.parametrize("document", [{"type": "probe"}, {}, {"type": 7}, {"type": None, "event": {}}])
def test_anything_else_fails(document: object, sender: Sender) -> None:
    reply = sender.send(document)

    assert reply["state"] == "failed"
    assert reply["message"]


@pytest.mark.contract("6.3/cached_entity", "B-29")
def test_entity_that_is_not_remembered_is_asked_for_in_full(sender: Sender) -> None:
    status = new_status()
    record = new_file(status)

    for _ in range(2):
        assert sender.again(record.file_id) == {"state": "continue-nocache"}
    sender.announce(status)

    assert sender.announce(record)["state"] == "need_file_data"
    assert sender.again(record.file_id)["state"] == "need_file_data"


@pytest.mark.contract("B-29")
def test_memory_is_keyed_by_sender(sender: Sender, client: FlaskClient) -> None:
    status = new_status()
    record = new_file(status)
    sender.announce(record)

    assert Sender(client, "other").again(record.file_id) == {"state": "continue-nocache"}


@pytest.mark.contract("B-29")
def test_newer_announcement_of_the_same_id_is_taken_over(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    record = new_file(status)
    sender.announce(status)
    sender.announce(record)
    better = FileRecord.from_dict(record.as_dict() | {"file_name": "better.png"})
    sender.announce(better)
    sender.upload(record.file_id)

    assert sender.again(record.file_id) == {"state": "complete"}
    assert record.file_id is not None
    assert db.get_file(record.file_id) == better


@pytest.mark.contract("B-29")
@every_engine
def test_requests_may_reach_different_processes(
    sender: Sender, db: MeteorDatabase, open_database: Callable[..., MeteorDatabase]
) -> None:
    """A second application on a connection pool of its own stands for another server process."""
    other_app = MeteorApp(db=open_database())
    importer_api.add_routes(meteor_app=other_app)
    elsewhere = Sender(other_app.app.test_client())
    status = new_status()
    record = new_file(status)

    assert sender.announce(record)["state"] == "need_status"
    elsewhere.announce(status)
    assert sender.again(record.file_id)["state"] == "need_file_data"
    assert elsewhere.upload(record.file_id).json == {"state": "continue"}
    assert elsewhere.again(record.file_id) == {"state": "complete"}
    assert record.file_id is not None
    assert db.has_file_id(record.file_id)


# --- uploads


@pytest.mark.contract("6.2/upload", "B-30", "B-50")
def test_content_that_nobody_announced_is_not_kept(sender: Sender, db: MeteorDatabase) -> None:
    answer = sender.upload(uuid.uuid4())

    assert answer.json["state"] == "continue"
    assert "no announced entity" in answer.json["message"]
    assert list(db.store.ids()) == []


@pytest.mark.contract("B-30", "B-50")
def test_content_that_another_sender_announced_is_not_kept(
    sender: Sender, client: FlaskClient, db: MeteorDatabase
) -> None:
    status = new_status()
    record = new_file(status)
    sender.announce(status)
    sender.announce(record)

    Sender(client, "other").upload(record.file_id)

    assert list(db.store.ids()) == []


@pytest.mark.contract("6.3/data", "B-30", "S-151", "faults/uploads")
@pytest.mark.parametrize(
    ("content", "md5"),
    [
        (CONTENT + b"!", None),
        (b"\0" * len(CONTENT), None),
        (b"\0" * len(CONTENT), hashlib.md5(CONTENT).hexdigest()),
        (CONTENT[:-1], hashlib.md5(CONTENT).hexdigest()),
        (CONTENT, "0" * 32),
    ],
)
def test_content_with_a_wrong_digest_is_discarded_and_the_sender_told(
    content: bytes, md5: str | None, sender: Sender, db: MeteorDatabase
) -> None:
    status = new_status()
    record = new_file(status)
    sender.announce(status)
    sender.announce(record)

    answer = sender.upload(record.file_id, content, md5)

    assert list(db.store.ids()) == []
    assert answer.status_code in {200, 400}
    assert answer.json["message"]
    assert sender.again(record.file_id)["state"] == "need_file_data"


@pytest.mark.contract("6.3/data")
def test_content_that_is_here_already_is_ignored(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    record = new_file(status)
    push_file(sender, status, record)
    sender.announce(new_event(new_status(), [record]))

    assert sender.upload(record.file_id, b"something else!!!!!").json["state"] == "continue"

    assert record.file_id is not None
    assert b"".join(db.open_content(record.file_id)) == CONTENT


def test_content_left_by_somebody_else_makes_room_for_the_right_one(
    sender: Sender, client: FlaskClient, db: MeteorDatabase
) -> None:
    """Another account took the id with bytes of its own, and never finished."""
    status = new_status()
    record = new_file(status)
    thief, false_record = Sender(client, "other"), FileRecord.from_dict(record.as_dict())
    false_record.md5, false_record.file_size = hashlib.md5(b"false").hexdigest(), 5
    thief.announce(status)
    thief.announce(false_record)
    thief.upload(record.file_id, b"false")

    assert sender.announce(record)["state"] == "need_file_data"
    sender.upload(record.file_id)
    assert sender.again(record.file_id) == {"state": "complete"}

    assert record.file_id is not None
    assert b"".join(db.open_content(record.file_id)) == CONTENT


@pytest.mark.contract("8.3/data")
def test_upload_without_the_part_is_malformed(client: FlaskClient, sender: Sender) -> None:
    answer = client.post(
        f"/import/data/{uuid.uuid4().hex}/{'0' * 32}",
        data=b"--X--\r\n",
        content_type="multipart/form-data; boundary=X",
        headers=sender._headers,
    )

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["code"] == "invalid-document"


@pytest.mark.contract("8.3/data")
@pytest.mark.parametrize("path", ["/import/data/xyz/" + "0" * 32, "/import/data/" + "0" * 32])
def test_malformed_upload_addresses(path: str, client: FlaskClient, sender: Sender) -> None:
    answer = client.post(
        path, data=b"", content_type="multipart/form-data; boundary=X", headers=sender._headers
    )

    assert answer.status_code in {400, 404}


@pytest.mark.contract("B-57", "faults/uploads")
def test_upload_beyond_the_limit_is_refused(db: MeteorDatabase) -> None:
    from meteorpi_server.settings import Settings

    db.create_or_update_user("sender", "pass", ["import"])
    meteor_app = MeteorApp(db=db, settings=Settings(max_upload_bytes=10_000))
    importer_api.add_routes(meteor_app=meteor_app)
    sender = Sender(meteor_app.app.test_client())
    status, content = new_status(), b"x" * 20_000
    record = new_file(status, content)
    sender.announce(status)
    sender.announce(record)

    answer = sender.upload(record.file_id, content)

    assert answer.status_code == 413
    assert list(db.store.ids()) == []


# --- malformed documents and rights


@pytest.mark.contract("8.3/import", "B-36", "faults/http-input")
@pytest.mark.parametrize(
    "document",
    [
        [],
        "x",
        {"type": "event"},
        {"type": "event", "event": []},
        {"type": "event", "event": {"event_id": "zz"}},
        {"type": "file", "file": {}},
        {"type": "status", "status": None},
        {"type": "cached_entity"},
        {"type": "cached_entity", "cached_entity_id": "nothing"},
    ],
)
def test_malformed_documents_are_client_errors(document: object, sender: Sender) -> None:
    answer = sender.post(document)

    assert answer.status_code == 400
    assert answer.json["code"] == "invalid-document"
    assert answer.json["message"]


@pytest.mark.parametrize("kind", ["event", "file", "status"])
def test_entity_without_its_id_is_refused(kind: str, sender: Sender) -> None:
    status = new_status()
    entities: dict[str, Entity] = {
        "event": new_event(status, []),
        "file": new_file(status),
        "status": status,
    }
    entity = entities[kind]
    document = entity.as_dict()
    del document[f"{kind}_id"]

    answer = sender.post({"type": kind, kind: document})

    assert answer.status_code == 400
    assert f"{kind}_id" in answer.json["message"]


def test_record_that_cannot_be_stored_fails_with_the_reason(sender: Sender) -> None:
    status = new_status()
    event = new_event(status, [])
    event.meta = [Meta(NSString("k" * 300), "x")]
    sender.announce(status)

    reply = sender.announce(event)

    assert reply["state"] == "failed"
    assert reply["message"]


@pytest.mark.contract("6/credentials", "8.3/import", "8.3/data")
@pytest.mark.parametrize("path", ["/import", f"/import/data/{'0' * 32}/{'0' * 32}"])
def test_routes_need_the_role(path: str, client: FlaskClient, db: MeteorDatabase) -> None:
    db.create_or_update_user("visitor", "pass", ["user", "camera_admin"])
    visitor = Sender(client, "visitor")

    assert client.post(path, data=b"{}").status_code == 401
    assert client.post(path, data=b"{}", headers=visitor._headers).status_code == 403


@pytest.mark.contract("B-50", "issue-2.4/cameras")
@pytest.mark.parametrize("kind", ["event", "embedded", "file", "status"])
def test_account_restricted_to_cameras_may_not_push_others(
    kind: str, sender: Sender, db: MeteorDatabase
) -> None:
    db.set_user_cameras("sender", [CAMERAS[0]])
    own, foreign = new_status(CAMERAS[0]), new_status(CAMERAS[1])
    entities: dict[str, Entity] = {
        "event": new_event(foreign, []),
        "embedded": new_event(own, [new_file(foreign)]),
        "file": new_file(foreign),
        "status": foreign,
    }
    entity = entities[kind]
    name = "event" if kind == "embedded" else kind

    answer = sender.post({"type": name, name: entity.as_dict()})

    assert answer.status_code == 403
    assert CAMERAS[1] in answer.json["message"]
    assert sender.announce(own) == {"state": "continue"}


@pytest.mark.contract("B-59")
def test_imports_are_in_the_audit_log(sender: Sender, db: MeteorDatabase) -> None:
    status = new_status()
    record = new_file(status)
    push_file(sender, status, record)

    entries = [entry for entry in db.get_audit_log(10) if entry.action.startswith("import.")]

    assert record.file_id is not None
    assert status.status_id is not None
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("sender", "import.file", record.file_id.hex),
        ("sender", "import.status", status.status_id.hex),
    ]


@pytest.mark.contract("5/loggers")
def test_what_is_refused_is_logged_where_operators_look(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    status = new_status()
    record = new_file(status)
    assert record.file_id is not None
    sender.announce(status)
    sender.announce(record)

    sender.upload(record.file_id, b"something else")

    (logged,) = (each for each in caplog.records if record.file_id.hex in each.getMessage())
    assert (logged.name, logged.levelname) == ("meteorpi.server.import", "WARNING")


# --- receivers of one's own


class Notifier(BaseImportReceiver):
    """Asks for the content of one file, keeps it, and notes who sent what."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: list[tuple[str, str, str]] = []

    def receive_event(self, import_request: ImportRequest) -> Any:
        event = import_request.entity
        assert isinstance(event, Event)
        self._note(import_request)
        if not any(self.directory.iterdir()) and event.file_records:
            file_id = event.file_records[0].file_id
            assert file_id is not None
            return import_request.response_need_file_data(file_id)
        return None

    def receive_file_record(self, import_request: ImportRequest) -> Any:
        self._note(import_request)
        return import_request.response_failed("events only")

    def receive_status(self, import_request: ImportRequest) -> Any:
        self._note(import_request)
        return super().receive_status(import_request)

    def receive_file_data(self, file_id: uuid.UUID, file_data: IncomingFile, md5_hex: str) -> object:
        file_data.save(self.directory / file_id.hex)
        return "ignored"

    def _note(self, import_request: ImportRequest) -> None:
        assert import_request.entity_id is not None
        self.seen.append(
            (self.get_importing_user_id(), import_request.entity_type, import_request.entity_id.hex)
        )


@pytest.fixture
def notifier(meteor_app: MeteorApp, tmp_path: Path) -> Notifier:
    directory = tmp_path / "notified"
    directory.mkdir()
    notifier = Notifier(directory)
    importer_api.add_routes(meteor_app=meteor_app, handler=notifier, url_path="/notify")
    return notifier


@pytest.mark.contract(
    "9/get_importing_user_id",
    "9/receive_event",
    "9/receive_file_record",
    "9/receive_status",
    "9/receive_file_data",
    "9/request",
)
def test_custom_receiver_beside_the_standard_one(
    notifier: Notifier, meteor_app: MeteorApp, db: MeteorDatabase
) -> None:
    sender = Sender(meteor_app.app.test_client(), url="/notify")
    status = new_status()
    record = new_file(status)
    event = new_event(status, [record])
    assert record.file_id is not None
    assert event.event_id is not None
    assert status.status_id is not None

    assert sender.announce(status) == {"state": "continue"}
    assert sender.announce(event) == {"state": "need_file_data", "file_id": record.file_id.hex}
    assert sender.upload(record.file_id).json == {"state": "continue"}
    assert sender.again(event.event_id) == {"state": "complete"}
    assert sender.announce(record) == {"state": "failed", "message": "events only"}

    assert (notifier.directory / record.file_id.hex).read_bytes() == CONTENT
    assert [seen[1:] for seen in notifier.seen] == [
        ("status", status.status_id.hex),
        ("event", event.event_id.hex),
        ("event", event.event_id.hex),
        ("file", record.file_id.hex),
    ]
    assert {seen[0] for seen in notifier.seen} == {"sender"}
    assert not db.has_event_id(event.event_id)
    assert not db.has_status_id(status.status_id)


@pytest.mark.contract("9/receive_event", "9/receive_file_record", "9/receive_status", "9/receive_file_data")
def test_base_receiver_takes_everything_and_keeps_nothing(db: MeteorDatabase) -> None:
    db.create_or_update_user("sender", "pass", ["import"])
    meteor_app = MeteorApp(db=db)
    importer_api.add_routes(meteor_app, handler=BaseImportReceiver())
    sender = Sender(meteor_app.app.test_client())
    status = new_status()
    record = new_file(status)

    assert sender.announce(status) == {"state": "continue"}
    assert sender.announce(record) == {"state": "complete"}
    assert sender.announce(new_event(status, [record])) == {"state": "complete"}
    assert sender.upload(record.file_id).json == {"state": "continue"}

    assert db.get_cameras() == []
    assert list(db.store.ids()) == []


@pytest.mark.contract("9/request")
def test_request_says_what_was_sent(meteor_app: MeteorApp) -> None:
    status = new_status()
    record = new_file(status)
    assert record.file_id is not None

    def request_of(document: object) -> tuple[object, object, str]:
        with meteor_app.app.test_request_context("/import", method="POST", json=document):
            found = ImportRequest.process_request()
            return found.entity, found.entity_id, found.entity_type

    assert request_of({"type": "file", "file": record.as_dict()}) == (record, record.file_id, "file")
    assert request_of({"type": "status", "status": status.as_dict()}) == (status, status.status_id, "status")
    assert request_of({"type": "dance"}) == (None, None, "none")


@pytest.mark.contract("9/responses")
def test_replies_that_a_request_offers(meteor_app: MeteorApp) -> None:
    status = new_status()
    record = new_file(status)
    assert status.status_id is not None
    with meteor_app.app.test_request_context():
        request = ImportRequest(record, record.file_id, "file")

        assert request.response_complete() == {"state": "complete"}
        assert request.response_failed() == {"state": "failed", "message": "Import failed"}
        assert request.response_need_status() == {"state": "need_status", "status_id": status.status_id.hex}
        assert request.response_continue() == {"state": "continue"}
        assert request.response_continue_after_file() == {"state": "continue"}
        assert ImportRequest(None, record.file_id, "none").response_continue() == {
            "state": "continue-nocache"
        }
        with pytest.raises(ValueError):
            ImportRequest(status, status.status_id, "status").response_need_status()


@pytest.mark.contract("8.3/handler", "9/database-receiver")
def test_default_handler_keeps_things_in_the_database(meteor_app: MeteorApp) -> None:
    handlers = meteor_app.app.extensions["meteorpi_import_handlers"]

    assert [type(handler) for handler in handlers.values()] == [MeteorDatabaseImportReceiver]
