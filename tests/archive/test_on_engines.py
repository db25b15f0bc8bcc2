"""An archive from request to bytes, on every engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.archive.conftest import ArchiveNode, opened
from tests.server.conftest import basic


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
