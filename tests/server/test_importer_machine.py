"""The receiver against a model of it: whatever several senders do in whatever order ends consistent."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from meteorpi_db import MeteorDatabase
from meteorpi_model import CameraStatus, Event, FileRecord
from meteorpi_server import MeteorApp, importer_api
from tests.server.test_importer_routes import Sender, new_event, new_file, new_status
from tests.system.replication import CAMERAS

pytestmark = pytest.mark.contract("6.3/event", "6.3/file", "6.3/cached_entity", "B-29", "B-30", "B-31")
SENDERS = ("sender_a", "sender_b")
WRONG = b"not what was announced"


class ReceiverMachine(RuleBasedStateMachine):
    """Senders announce, upload and name entities in any order; the model knows what must be here by now."""

    entities = Bundle("entities")

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        root = Path(self.directory.name)
        self.db = MeteorDatabase(db_path=root / "hub.db", file_store_path=root / "files")
        meteor_app = MeteorApp(db=self.db)
        importer_api.add_routes(meteor_app=meteor_app)
        client = meteor_app.app.test_client()
        self.senders = {name: Sender(client, name) for name in SENDERS}
        for name in SENDERS:
            self.db.create_or_update_user(name, "pass", ["import"])
        self.statuses = [new_status(CAMERAS[number % 2]) for number in range(3)]
        contents = [b"first", b"second", b"", b"third" * 1000]
        self.contents: dict[uuid.UUID, bytes] = {}
        self.records = [self._record(number, content) for number, content in enumerate(contents)]
        # The model.
        self.held_statuses: set[uuid.UUID] = set()
        self.held_contents: set[uuid.UUID] = set()
        self.held_files: set[uuid.UUID] = set()
        self.held_events: set[uuid.UUID] = set()
        self.remembered: dict[tuple[str, uuid.UUID], Event | FileRecord] = {}
        self.may_upload: set[tuple[str, uuid.UUID]] = set()

    def _record(self, number: int, content: bytes) -> FileRecord:
        record = new_file(self.statuses[number % 3], content)
        assert record.file_id is not None
        self.contents[record.file_id] = content
        return record

    @rule(target=entities, status=st.integers(0, 2), files=st.sets(st.integers(0, 3), max_size=3))
    def new_event(self, status: int, files: set[int]) -> Event:
        return new_event(self.statuses[status], [self.records[number] for number in sorted(files)])

    @rule(target=entities, number=st.integers(0, 3))
    def new_file(self, number: int) -> FileRecord:
        return self.records[number]

    @rule(sender=st.sampled_from(SENDERS), number=st.integers(0, 2))
    def send_status(self, sender: str, number: int) -> None:
        status = self.statuses[number]
        assert status.status_id is not None

        assert self.senders[sender].announce(status) == {"state": "continue"}

        self.held_statuses.add(status.status_id)

    @rule(sender=st.sampled_from(SENDERS), entity=entities)
    def announce(self, sender: str, entity: Event | FileRecord) -> None:
        reply = self.senders[sender].announce(entity)

        self._check(sender, entity, reply)

    @rule(sender=st.sampled_from(SENDERS), entity=entities)
    def name_again(self, sender: str, entity: Event | FileRecord) -> None:
        entity_id = id_of(entity)

        reply = self.senders[sender].again(entity_id)

        if (sender, entity_id) in self.remembered:
            self._check(sender, self.remembered[sender, entity_id], reply)
        else:
            assert reply == {"state": "continue-nocache"}

    @rule(sender=st.sampled_from(SENDERS), number=st.integers(0, 3), is_wrong=st.booleans())
    def upload(self, sender: str, number: int, is_wrong: bool) -> None:
        file_id = self.records[number].file_id
        assert file_id is not None
        content = self.contents[file_id]

        answer = self.senders[sender].upload(
            file_id, WRONG if is_wrong else content, hashlib.md5(content).hexdigest()
        )

        assert answer.status_code == 200 or is_wrong
        if (sender, file_id) in self.may_upload and not is_wrong:
            self.held_contents.add(file_id)

    @rule(sender=st.sampled_from(SENDERS), entity=entities)
    def push_whole(self, sender: str, entity: Event | FileRecord) -> None:
        """What a well-behaved exporter does, from any state, ends complete within its bounds."""
        reply = self.senders[sender].announce(entity)
        self._check(sender, entity, reply)
        delivered: set[str] = set()
        while reply != {"state": "complete"}:
            item = str(reply.get("status_id") or reply["file_id"])
            assert item not in delivered
            delivered.add(item)
            if reply["state"] == "need_status":
                numbers = [number for number, status in enumerate(self.statuses) if hex_of(status) == item]
                self.send_status(sender, numbers[0])
            else:
                numbers = [n for n, record in enumerate(self.records) if record.file_id == uuid.UUID(item)]
                self.upload(sender, numbers[0], is_wrong=False)
            reply = self.senders[sender].again(id_of(entity))
            self._check(sender, entity, reply)

    def _check(self, sender: str, entity: Event | FileRecord, reply: Any) -> None:
        """The reply to an entity by table 6.3, and what it changes in the model."""
        expected = self._expected(entity)
        assert reply == expected
        entity_id = id_of(entity)
        records = entity.file_records if isinstance(entity, Event) else [entity]
        file_ids = {record.file_id for record in records if record.file_id}
        held = self.held_events if isinstance(entity, Event) else self.held_files
        if expected != {"state": "complete"}:
            self.remembered[sender, entity_id] = entity
            self.may_upload |= {(sender, file_id) for file_id in file_ids}
        elif entity_id not in held:
            held.add(entity_id)
            self.held_files |= file_ids
            self.remembered.pop((sender, entity_id), None)
            self.may_upload -= {(sender, file_id) for file_id in file_ids}

    def _expected(self, entity: Event | FileRecord) -> dict[str, str]:
        records = entity.file_records if isinstance(entity, Event) else [entity]
        if id_of(entity) in (self.held_events if isinstance(entity, Event) else self.held_files):
            return {"state": "complete"}
        for status_id in [entity.status_id, *(record.status_id for record in records)]:
            if status_id not in self.held_statuses:
                return {"state": "need_status", "status_id": status_id.hex}
        for record in records:
            if record.file_id is not None and record.file_id not in self.held_contents:
                return {"state": "need_file_data", "file_id": record.file_id.hex}
        return {"state": "complete"}

    @invariant()
    def node_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "db"):
            return
        files = {record.file_id: record for record in self.db.iterate_files()}
        assert set(files) == self.held_files
        assert {event.event_id for event in self.db.iterate_events()} == self.held_events
        assert set(self.db.store.ids()) == self.held_contents
        for file_id in self.held_contents:
            assert b"".join(self.db.store.open(file_id)) == self.contents[file_id]
        for record in self.records:
            assert record.file_id not in files or files[record.file_id] == record

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()
            self.directory.cleanup()


def id_of(entity: Event | FileRecord) -> uuid.UUID:
    found = entity.event_id if isinstance(entity, Event) else entity.file_id
    assert found is not None
    return found


def hex_of(status: CameraStatus) -> str:
    assert status.status_id is not None
    return status.status_id.hex


TestReceiverMachine = ReceiverMachine.TestCase
TestReceiverMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
