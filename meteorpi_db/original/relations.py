"""What records of the first generation refer to, by identities in place of its internal ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from meteorpi_db.original import rows
from meteorpi_db.original.source import OriginalDatabase, OriginalRow
from meteorpi_db.original.taking import TakenTask
from meteorpi_db.records.files import Origin


class Relations:
    """Finds what files and events belong to.

    Args:
        source: the original.
        now: the time, milliseconds.

    Attributes:
        status_ids, config_ids: identities of the statuses and export configurations that are held here, by
            the internal ids that they have in the original.
    """

    def __init__(self, source: OriginalDatabase, now: int) -> None:
        self._source = source
        self._now = now
        self.status_ids: dict[int, UUID] = {}
        self.config_ids: dict[int, UUID] = {}

    def files_of_events(self, keys: Sequence[int]) -> dict[int, list[UUID]]:
        """The files of each event in order; one that is named twice counts once."""
        links = self._source.referring("t_event_to_file", "t_event", keys)
        column = self._source.reference("t_event_to_file", "t_file") if links else ""
        wanted = {link[column] for of_event in links.values() for link in of_event}
        records = self._source.by_internal_id("t_file", wanted)
        shown: dict[int, list[UUID]] = {}
        for key, of_event in links.items():
            ordered = sorted(of_event, key=lambda link: link["sequencenumber"] or 0)
            named = [records[link[column]] for link in ordered if link[column] in records]
            ids = (rows.known_identity(record, "fileid") for record in named)
            shown[key] = list(dict.fromkeys(filter(None, ids)))
        return shown

    def status_of(self, row: OriginalRow) -> UUID | None:
        """The status of a file or event, None when it could not be taken."""
        key: Any = row["statusid"]
        return self.status_ids.get(key)

    def origin(self, received: Sequence[OriginalRow]) -> Origin:
        """Who recorded an entity: a sender that the original knows of, or nobody else than the node."""
        if not received:
            return Origin(registered_at=self._now)
        row = received[0]
        time = self._now if row["importtime"] is None else row["importtime"]
        return Origin(registered_at=time, imported_by=row["importuser"] or "unknown")

    def tasks(self, page: Sequence[OriginalRow], entity: str) -> list[TakenTask]:
        """What is known of the exports of a page of entities, ``file`` or ``event``."""
        table = f"t_{entity}export"
        if not self._source.has(table):
            return []
        by_entity = self._source.referring(table, f"t_{entity}", [row["internalid"] for row in page])
        column = self._source.reference(table, "t_exportconfig")
        return [
            TakenTask(
                entity_id=entity_id,
                config_id=self.config_ids[task[column]],
                is_complete=task["exportstate"] == 0,
                time=self._now if task["exporttime"] is None else task["exporttime"],
            )
            for row in page
            if (entity_id := rows.known_identity(row, f"{entity}id")) is not None
            for task in by_entity[row["internalid"]]
            if task[column] in self.config_ids
        ]
