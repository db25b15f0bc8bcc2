"""Whether everything arrived, asked over HTTP."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from meteorpi_client import MeteorClient
from meteorpi_model import EventSearch, FileRecord, FileRecordSearch
from meteorpi_model.errors import MeteorError, UnavailableError
from meteorpi_server.cli.demo_nodes import DemoNode
from meteorpi_server.cli.output import Advance, size_text

STALLED_SECONDS: Final = 60.0
"""Without anything new for so long, the demo gives up."""

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Holdings:
    """What a node holds.

    Attributes:
        events, files: numbers.
        size_bytes: content of the files; 0 where it was not counted.
    """

    events: int
    files: int
    size_bytes: int = 0

    @classmethod
    def of(cls, client: MeteorClient) -> Self:
        """Count what a node holds, and add up its files."""
        size_bytes = sum(record.file_size for record in client.iterate_files())
        return cls(*numbers(client), size_bytes)

    def text(self, seconds: float) -> str:
        """For people, with the rate at which it came in so many seconds."""
        size, rate = size_text(self.size_bytes), size_text(self.size_bytes / seconds)
        return f"{self.events} events, {self.files} files, {size} in {seconds:.1f} s ({rate}/s)"


@dataclass
class Comparison:
    """What the comparison of hub and station gave.

    Attributes:
        equal_files: files whose bytes at the hub have the SHA-256 that the station recorded.
        equal_events: events whose records are the same, files and metadata included.
        differences: a sentence for each that is not.
    """

    equal_files: int = 0
    equal_events: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, different, or more than there should be."""
        return not self.differences

    def as_dict(self) -> dict[str, object]:
        """For scripts."""
        return {"is_complete": self.is_complete, **vars(self)}


def numbers(client: MeteorClient) -> tuple[int, int]:
    """How many events and files a node holds."""
    return client.search_events(EventSearch(limit=1))["count"], client.search_files(
        FileRecordSearch(limit=1)
    )["count"]


def wait_for_arrival(station: DemoNode, hub: DemoNode, advance: Advance) -> Holdings:
    """Wait until the hub holds as many events and files as the station.

    Raises:
        UnavailableError: nothing more arrives; says what the exporter met.
    """
    wanted, arrived = numbers(station.client), (-1, -1)
    deadline = time.monotonic()
    while (found := numbers(hub.client)) != wanted:
        if found != arrived:
            arrived, deadline = found, time.monotonic() + STALLED_SECONDS
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"the hub holds {sum(found)} of {sum(wanted)} records: {last_error(station)}"
            )
        advance(sum(found), sum(wanted))
        time.sleep(_POLL_SECONDS)
    return Holdings.of(hub.client)


def last_error(station: DemoNode) -> str:
    """Why exports failed last."""
    with station.open_database() as database:
        errors = [state.last_error for state in database.get_export_states() if state.last_error]
    return errors[0] if errors else "the exporter reports no failure"


def compare(station: DemoNode, hub: DemoNode, scratch: Path, advance: Advance) -> Comparison:
    """Fetch every file from the hub and compare it with what the station recorded; then the events."""
    result = Comparison()
    records = {record.file_id: record for record in station.client.iterate_files()}
    with station.open_database() as database:
        for record in hub.client.iterate_files():
            original = records.pop(record.file_id, None)
            if original is None or record.file_id is None or record != original:
                result.differences.append(f"the record of file {record.file_id} is not that of the station")
                continue
            expected = database.content_facts(record.file_id).sha256
            difference = content_difference(hub.client, record, expected, scratch)
            result.equal_files += difference is None
            result.differences += [difference] if difference else []
            advance(result.equal_files, len(records) + result.equal_files)
    result.differences += [f"file {file_id} is missing at the hub" for file_id in records]
    compare_events(station.client, hub.client, result)
    return result


def content_difference(client: MeteorClient, record: FileRecord, sha256: str, scratch: Path) -> str | None:
    """Download a file; gives what is wrong with it, or None."""
    path = scratch / "content"
    try:
        client.download(record, path)
    except MeteorError as error:
        return f"file {record.file_id}: {error.detail}"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if found == sha256 else f"file {record.file_id} has SHA-256 {found}, not {sha256}"


def compare_events(station: MeteorClient, hub: MeteorClient, result: Comparison) -> None:
    """Compare all events, with their files and metadata."""
    events = {event.event_id: event for event in station.iterate_events()}
    for event in hub.iterate_events():
        if events.pop(event.event_id, None) == event:
            result.equal_events += 1
        else:
            result.differences.append(f"event {event.event_id} is not that of the station")
    result.differences += [f"event {event_id} is missing at the hub" for event_id in events]
