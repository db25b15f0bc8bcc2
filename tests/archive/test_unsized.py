"""Archives whose length nobody knows in advance, over real sockets."""

from __future__ import annotations

import http.client
import io
import zipfile
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.archive.conftest import ArchiveNode
from tests.archive.faulty_source import FaultySource, serving, short

pytestmark = pytest.mark.engines("sqlite")

DEADLINE = 60.0
CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def server() -> Iterator[FaultySource]:
    with FaultySource({"/whole": serving(CONTENT), "/short": short(CONTENT, len(CONTENT) + 10)}) as found:
        yield found


@pytest.fixture
def node(server: FaultySource, make_archive_node: Callable[..., ArchiveNode]) -> ArchiveNode:
    return make_archive_node(allowed_sources=[server.url()], retries=0, total_timeout=60)


def get(address: str, path: str) -> tuple[http.client.HTTPResponse, bytes | None]:
    """An answer, and its body; None for one that is cut short."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={"Range": "bytes=0-9"})
        answer = connection.getresponse()
        try:
            return answer, answer.read()
        except http.client.IncompleteRead:
            return answer, None
    finally:
        connection.close()


@pytest.mark.contract("archive-3.8/unsized")
def test_archive_without_a_length_is_chunked_and_has_no_parts(
    server: FaultySource, node: ArchiveNode, serve: Callable[[ArchiveNode], str]
) -> None:
    items = [server.url("/whole"), server.url("/short")]
    made = node.ticket(items[:1], node.client("catalogue", "url"), on_error="skip")
    address = serve(node)

    answer, body = get(address, made["href"])

    assert (made["sized"], made["bytes"], made["etag"], made["resumable"]) == (False, None, None, False)
    assert (answer.status, answer.getheader("Transfer-Encoding")) == (200, "chunked")
    assert answer.getheader("Accept-Ranges") == "none"
    assert answer.getheader("Content-Length") is None
    assert answer.getheader("ETag") is None
    assert body is not None
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert archive.read("whole") == CONTENT


@pytest.mark.contract("archive-3.12/after", "archive-defect-1")
def test_archive_without_a_length_that_breaks_has_no_last_chunk(
    server: FaultySource, node: ArchiveNode, serve: Callable[[ArchiveNode], str]
) -> None:
    items = [server.url("/whole"), server.url("/short")]
    made = node.ticket(items, node.client("catalogue", "url"), on_error="skip")
    address = serve(node)

    _, body = get(address, made["href"])

    assert body is None
