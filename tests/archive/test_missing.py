"""Records whose content is not here: left out, refused, or taken from the node that they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from meteorpi_db.records.files import NewFile
from meteorpi_model import FileRecord, NSString
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorServer
from meteorpi_server.archive_api.peers import Peers
from tests.archive.conftest import NOON, ArchiveNode, opened
from tests.cli.conftest import add_status

pytestmark = pytest.mark.engines("sqlite")

EVERYTHING = [{"search": {"limit": 0}}]
FAR_CAMERA = "ffeeddccbbaa"
CONTENTS = [bytes([65 + number]) * (40_000 + number) for number in range(3)]


@dataclass
class Hub:
    """A node with records of a station, which is still there."""

    node: ArchiveNode
    records: list[FileRecord]
    station: MeteorServer

    def lose(self, number: int) -> UUID:
        """Lose a content that came from the station."""
        file_id = self.records[number].file_id
        assert file_id is not None
        assert self.node.db.store.delete(file_id)
        return file_id


@pytest.fixture
def station(tmp_path: Path) -> Iterator[MeteorServer]:
    """A node that recorded three files, with its routes."""
    server = MeteorServer(str(tmp_path / "station.db"), str(tmp_path / "station"), 0)
    stop = server.start_non_blocking()
    add_status(server.db, NOON - timedelta(days=1), FAR_CAMERA)
    yield server
    stop()
    server.db.close()


@pytest.fixture
def make_hub(station: MeteorServer, make_archive_node: Callable[..., ArchiveNode]) -> Callable[..., Hub]:
    """Call it for a hub with these settings, `peers` among them where `{}` is the address of the station."""

    def make(peers: str = "station1={}", **options: Any) -> Hub:
        url = station.base_url()
        node = make_archive_node(peers=[peers.format(url)] if peers else [], retries=0, **options)
        for status in station.db.get_status_history(FAR_CAMERA):
            node.db.import_camera_status(status)
        records = []
        for number, content in enumerate(CONTENTS):
            new = NewFile(
                mime_type="image/jpeg",
                semantic_type=NSString("test_file"),
                file_time=NOON + timedelta(seconds=number),
                metas=[],
                camera_id=FAR_CAMERA,
                file_name=f"{number}.jpg",
            )
            record = station.db.add_file(new, [content], file_id=UUID(int=number + 1))
            node.db.store.put(UUID(int=number + 1), [content])
            node.db.import_file_record(record, "station1")
            records.append(record)
        return Hub(node, records, station)

    return make


@pytest.mark.contract("archive-3.5/missing", "archive-3.6/options")
def test_archive_is_the_same_wherever_the_contents_are(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    before = hub.node.get(hub.node.ticket(EVERYTHING)["href"])
    hub.lose(1)

    made = hub.node.ticket(EVERYTHING, missing="peer")
    whole = hub.node.get(made["href"])
    part = hub.node.get(made["href"], headers={"Range": "bytes=60000-70000"})

    assert (made["skipped"], made["resumable"]) == ([], True)
    assert whole.data == before.data
    assert whole.headers["ETag"] == before.headers["ETag"]
    assert (part.status_code, part.data) == (206, before.data[60000:70001])


@pytest.mark.contract("archive-3.5/missing", "archive-3.5/damaged")
def test_content_that_is_damaged_here_is_taken_from_there(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    file_id = hub.records[0].file_id
    assert file_id is not None
    hub.node.db.mark_corrupt(file_id)

    contents = opened(hub.node.get(hub.node.ticket([{"record": file_id.hex}], missing="peer")["href"]))

    assert CONTENTS[0] in contents.values()


@pytest.mark.contract("archive-3.5/missing")
def test_what_is_missing_is_left_out_or_refused(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    lost = hub.lose(1)
    listed = [{"index": 0, "file_id": lost.hex, "reason": "the content is not here"}]

    by_default = hub.node.ticket(EVERYTHING)
    skipped = hub.node.ticket([{"record": lost.hex}, *EVERYTHING], missing="skip")
    failed = hub.node.generate(EVERYTHING, {"missing": "fail"})
    named = hub.node.generate([{"record": lost.hex}])

    assert by_default["skipped"] == listed
    assert [each["index"] for each in skipped["skipped"]] == [0, 1]
    assert (failed.status_code, named.status_code) == (409, 409)
    assert failed.json is not None
    assert failed.json["errors"]["json"]["items"] == [lost.hex]


@pytest.mark.contract("archive-3.5/missing")
def test_what_came_from_somebody_else_is_left_out(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(peers="station2={}")
    lost = hub.lose(2)

    made = hub.node.ticket(EVERYTHING, missing="peer")

    assert [each["file_id"] for each in made["skipped"]] == [lost.hex]


@pytest.mark.contract("archive-3.5/missing", "archive-3.12/after")
def test_node_that_has_lost_it_too_cuts_the_archive_or_is_left_out(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    lost = hub.lose(0)
    hub.station.db.store.delete(lost)

    gone = hub.node.get(hub.node.ticket([{"record": lost.hex}], missing="peer", manifest=False)["href"])
    made = hub.node.ticket(EVERYTHING, missing="peer", on_error="skip")
    contents = opened(hub.node.get(made["href"]))

    assert gone.status_code == 409
    assert not made["sized"]
    assert "_ERRORS.json" in contents
    assert set(CONTENTS[1:]) < set(contents.values())


@pytest.mark.parametrize("text", ["station1", "=", "station1=ftp://a/", "station1=http://u:p@a/"])
def test_peers_that_cannot_be_read_stop_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="archive_peers"):
        Peers.parse([text])
