from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest

from meteorpi_client import MeteorClient
from meteorpi_client.transport import Patience
from meteorpi_model import FileRecord, NSString
from meteorpi_model.values import JsonObject
from tests.client.tiny_node import TinyNode, serve

STATUS_ID = UUID(int=7)


@pytest.fixture
def node() -> Iterator[TinyNode]:
    """A node that the test tells what to answer."""
    yield from serve(TinyNode())


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that the client made, in seconds."""
    return []


@pytest.fixture
def client(node: TinyNode, pauses: list[float]) -> Iterator[MeteorClient]:
    """A client of `node` that does not really wait."""
    patience = Patience(connect_seconds=2, read_seconds=2, retries=3, sleep=pauses.append)
    with MeteorClient(node.base_url, patience=patience) as client:
        yield client


def file_record(number: int, time: datetime, **members: object) -> FileRecord:
    """A record as a node would send it."""
    record = FileRecord("aabbccddeeff", "text/plain", NSString("test_file"), STATUS_ID)
    record.file_id = UUID(int=number)
    record.file_time = time
    for name, value in members.items():
        setattr(record, name, value)
    return record


def files_answer(records: list[FileRecord], count: int | None = None) -> JsonObject:
    return {
        "count": len(records) if count is None else count,
        "files": [record.as_dict() for record in records],
    }
