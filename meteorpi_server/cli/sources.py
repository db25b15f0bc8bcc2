"""What a search can run on: the database of this machine, or a node somewhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from meteorpi_model import Event, EventSearch, FileRecord, FileRecordSearch
from meteorpi_server.cli.remote import open_node
from meteorpi_server.cli.setup import Setup


class Source(Protocol):
    """What can be searched: a database of this machine, or a node somewhere else."""

    def iterate_files(self, search: FileRecordSearch | None = None) -> Iterator[FileRecord]:
        """Every file record that matches, newest first."""

    def iterate_events(self, search: EventSearch | None = None) -> Iterator[Event]:
        """Every event that matches, newest first."""


@contextmanager
def open_source(setup: Setup, node_url: str | None, ca_file: str | None) -> Iterator[Source]:
    """The node at `node_url`, or the database of the settings when there is none."""
    if node_url is None:
        with setup.open_database() as database:
            yield database
        return

    with open_node(node_url, ca_file) as node:
        yield node
