"""An archive from request to bytes, on every engine."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.archive.conftest import ArchiveNode, opened
from tests.server.conftest import basic, id_of


@pytest.mark.contract("archive-fpx/database")
def test_ticket_lives_and_ends_on_every_engine(archive_node: ArchiveNode) -> None:
    archive_node.add_files()
    client = archive_node.client()
    made = archive_node.ticket([{"search": {}}], client | {"Idempotency-Key": "once"}, comment="é")
    again = archive_node.ticket([{"search": {}}], client | {"Idempotency-Key": "once"}, comment="é")

    whole = archive_node.get(made["href"])
    part = archive_node.get(made["href"], headers={"Range": "bytes=9-", "If-Range": whole.headers["ETag"]})
    state = archive_node.get(made["status_href"]).json

    assert again["id"] == made["id"]
    assert len(opened(whole)) == 4
    assert part.data == whole.data[9:]
    assert state is not None
    assert (state["state"], state["bytes_sent"]) == ("done", 2 * made["bytes"] - 9)
    assert archive_node.http.delete(made["status_href"], headers=basic("admin")).status_code == 204
    assert archive_node.get(made["href"]).status_code == 404
    archive_node.clock.ahead = timedelta(days=2)
    archive_node.get(made["href"])
    assert archive_node.register.count_tickets() == 0


@pytest.mark.contract("archive-3.18/x-accel")
def test_contents_are_sound_since_they_were_stored_or_verified_last(archive_node: ArchiveNode) -> None:
    node = archive_node
    ids = [id_of(record) for record in node.add_files()]
    stored = node.clock()
    later = stored + timedelta(days=5)

    assert node.db.are_sound_since(ids, stored - timedelta(days=1))
    assert node.db.are_sound_since([], later)
    assert not node.db.are_sound_since(ids, later)
    assert not node.db.are_sound_since([*ids, uuid4()], stored - timedelta(days=1))
    node.clock.ahead = timedelta(days=5)
    node.db.bring_content_back(ids[0], [b"A" * 2000])
    assert node.db.are_sound_since(ids[:1], later)
    node.db.mark_corrupt(ids[0])
    assert not node.db.are_sound_since(ids[:1], later)
