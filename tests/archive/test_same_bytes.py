"""The same archive from any store, any node, any number of parts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_db.records.files import NewFile
from meteorpi_model import NSString
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.settings import Settings
from tests.archive.conftest import NOON, ArchiveNode, SetClock, opened

pytestmark = [pytest.mark.engines("sqlite"), pytest.mark.usefixtures("quick_passwords")]

EVERYTHING = [{"search": {"limit": 0}}]


@contextmanager
def node_with_files(directory: Path, store: str, installation_id: str) -> Iterator[ArchiveNode]:
    """A node that holds three files, the same ones in every node."""
    directory.mkdir()
    db = MeteorDatabase(directory / "node.db", store, installation_id=installation_id)
    with db:
        meteor_app = MeteorApp(db=db, settings=Settings())
        archive_api.add_routes(meteor_app)
        node = ArchiveNode(db, meteor_app, directory, SetClock())
        node.add_accounts()
        node.add_status()
        for number in (2, 0, 1):
            new = NewFile(
                mime_type="image/jpeg",
                semantic_type=NSString("test_file"),
                file_time=NOON + timedelta(seconds=number),
                metas=[],
                camera_id="aabbccddeeff",
                file_name=None,
            )
            db.add_file(new, [b"%d" % number * 3000], file_id=UUID(int=number + 1))
        yield node


@pytest.mark.contract("archive-3.8/etag", "archive-3.5/sources", "archive-6.2")
def test_two_nodes_with_the_same_records_send_the_same_bytes(tmp_path: Path) -> None:
    with (
        node_with_files(tmp_path / "one", str(tmp_path / "files"), "stationstati") as one,
        node_with_files(tmp_path / "two", "memory:", "hubhubhubhub") as two,
    ):
        made = [node.ticket(EVERYTHING, manifest=False) for node in (one, two)]

        first, second = (node.get(each["href"]) for node, each in zip((one, two), made, strict=True))

        assert first.headers["ETag"] == second.headers["ETag"]
        assert first.data == second.data
        assert len(opened(first)) == 3
        rest = two.get(made[1]["href"], headers={"Range": "bytes=77-", "If-Range": first.headers["ETag"]})
        assert first.data[:77] + rest.data == first.data


@pytest.mark.contract("archive-6.2", "archive-defect-15")
def test_download_cut_off_again_and_again_is_the_whole(archive_node: ArchiveNode) -> None:
    archive_node.add_files(5, size=30_000)
    made = archive_node.ticket(EVERYTHING)
    whole = archive_node.get(made["href"]).data
    chance = random.Random(20)
    received = b""

    for _ in range(20):
        answer = archive_node.get(
            made["href"], headers={"Range": f"bytes={len(received)}-", "If-Range": f'"{made["etag"]}"'}
        )
        assert answer.status_code == 206
        received += answer.data[: chance.randint(1, len(whole) // 20)]
    last = archive_node.get(made["href"], headers={"Range": f"bytes={len(received)}-"})

    assert received + last.data == whole


@pytest.mark.contract("archive-6.2", "archive-3.9/parallel")
def test_four_parts_make_the_whole(archive_node: ArchiveNode) -> None:
    archive_node.add_files(5, size=30_000)
    made = archive_node.ticket(EVERYTHING)
    whole = archive_node.get(made["href"]).data
    cuts = [number * len(whole) // 4 for number in range(5)]
    running = [
        archive_node.http.get(made["href"], headers={"Range": f"bytes={start}-{stop - 1}"})
        for start, stop in itertools.pairwise(cuts)
    ]

    received = [part.get_data() for part in running]
    for part in running:
        part.close()

    assert b"".join(received) == whole
