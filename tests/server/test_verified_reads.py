"""Files whose bytes are compared with their digest while they are sent."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from uuid import UUID

import pytest

from meteorpi_db.filestore import CHUNK_BYTES, MemoryFileStore
from meteorpi_db.filestore.hashing import facts_of
from meteorpi_db.filestore.verified import VerifiedReader
from meteorpi_model import FileRecord
from meteorpi_model.errors import CorruptContentError
from tests.server.conftest import Node, id_of
from tests.server.test_served import serve

TIMEOUT = 60
CONTENT = os.urandom(CHUNK_BYTES) * 2 + b"the end"

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def verifying(make_node: Callable[..., Node]) -> Node:
    made = make_node(verify_reads=True)
    made.add_status()
    return made


@pytest.fixture
def port_of() -> Iterator[Callable[[Node], int]]:
    """Serves a node on a free port, which it gives."""
    with ExitStack() as stack:

        def served(node: Node) -> int:
            server, thread = serve(node)
            stack.callback(thread.join, TIMEOUT)
            stack.callback(server.stop)
            return server.port

        yield served


def torn(node: Node, content: bytes = CONTENT) -> FileRecord:
    """A record whose content has another first byte than was recorded."""
    record = node.add_file(content)
    path = node.db.file_path_for_id(id_of(record))
    path.chmod(0o600)
    with path.open("r+b") as changed:
        changed.write(bytes([content[0] ^ 1]))
    return record


def url(record: FileRecord) -> str:
    return f"/files/content/{id_of(record).hex}"


def counted(node: Node) -> dict[str, int]:
    return node.meteor_app.metrics.figures().corrupt_reads


@pytest.mark.contract("S-141")
def test_sound_content_is_sent_as_ever(verifying: Node) -> None:
    large, empty = verifying.add_file(CONTENT), verifying.add_file(b"")

    assert verifying.get(url(large)).data == CONTENT
    assert verifying.get(url(large), headers={"Range": "bytes=5-9"}).data == CONTENT[5:10]
    assert verifying.get(url(empty)).data == b""
    assert counted(verifying) == {"refused": 0, "aborted": 0}


@pytest.mark.contract("S-141")
def test_damaged_content_is_broken_off_and_then_refused(
    verifying: Node, port_of: Callable[[Node], int]
) -> None:
    record = torn(verifying)

    with closing(http.client.HTTPConnection("127.0.0.1", port_of(verifying), timeout=TIMEOUT)) as connection:
        connection.request("GET", url(record))
        with connection.getresponse() as answer:
            assert answer.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
    again = verifying.get(url(record))

    assert (again.status_code, again.json and again.json["code"]) == (503, "corrupt")
    assert counted(verifying) == {"refused": 1, "aborted": 1}
    metrics = verifying.get("/metrics").text
    assert 'meteorpi_corrupt_reads_total{outcome="aborted"} 1' in metrics


@pytest.mark.contract("S-141")
def test_damage_of_a_small_content_is_found_before_the_answer(verifying: Node) -> None:
    record = torn(verifying, b"small")

    answer = verifying.get(url(record))

    assert (answer.status_code, answer.json and answer.json["code"]) == (503, "corrupt")
    assert counted(verifying) == {"refused": 1, "aborted": 0}
    with pytest.raises(CorruptContentError):
        verifying.db.content_facts(id_of(record))


@pytest.mark.contract("S-141")
def test_parts_of_a_content_are_not_verified(verifying: Node) -> None:
    record = torn(verifying)

    assert verifying.get(url(record), headers={"Range": "bytes=1-3"}).data == CONTENT[1:4]
    assert counted(verifying)["aborted"] == 0


@pytest.mark.contract("S-141")
def test_without_the_setting_nothing_is_compared(node: Node) -> None:
    record = torn(node)

    assert len(node.get(url(record)).data) == len(CONTENT)


@pytest.mark.contract("S-141")
@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_last_piece_of_damaged_content_is_never_given(pieces: int) -> None:
    store, file_id = MemoryFileStore(), UUID(int=1)
    content = b"x" * (CHUNK_BYTES * pieces)
    store.put(file_id, [content])
    noted: list[bool] = []

    with VerifiedReader(store.open(file_id), facts_of([content]).sha256, noted.append).start() as sound:
        assert b"".join(sound) == content
    given: list[bytes] = []
    with VerifiedReader(store.open(file_id), "0" * 64, noted.append) as damaged:
        with pytest.raises(CorruptContentError):
            given.extend(damaged.start())
        assert next(damaged, None) is None

    assert noted == [pieces > 1]
    assert sum(map(len, given)) == max(pieces - 1, 0) * CHUNK_BYTES
