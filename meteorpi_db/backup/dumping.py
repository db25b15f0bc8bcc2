"""Every table, and the list of contents, out of one snapshot of the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, MetaData, Table

from meteorpi_db.backup.contents_list import ContentLine, content_line_text, contents_of
from meteorpi_db.backup.manifest import CONTENTS_PART, part_of_table
from meteorpi_db.backup.parts import PartFacts, write_part
from meteorpi_db.backup.rows import line_of, rows_of
from meteorpi_db.filestore import Disk

NOT_CARRIED = frozenset(
    {
        "lease",
        "login_failure",
        "announced_entity",
        "announced_file",
        "archive_queue",
        "archive_downloads",
        "archive_turns",
        "archive_dir_crc",
        "block_upload",
    }
)
"""Tables that are about what goes on at the moment, and that everybody can do without.

Who exports just now and who mistyped a password means nothing elsewhere; what senders announced and have not
finished to push they announce again, and the uploads it speaks of are not in the backup. Who waits for an
archive, or takes one just now, comes again, and so does who uploads to a block. The links to archives are
carried with what they stand for: people hold them, and they are good until they expire. Checksums of files in
directories are about the files of one machine, and are found again.
"""


def carried_tables(metadata: MetaData) -> list[Table]:
    """The tables that a backup has, parents before children."""
    return [table for table in metadata.sorted_tables if table.name not in NOT_CARRIED]


@dataclass(frozen=True, kw_only=True)
class Dump:
    """What was written.

    Attributes:
        tables: the part of each table.
        contents: the list of contents.
        content_count, content_bytes: contents that differ from each other.
    """

    tables: dict[str, PartFacts]
    contents: PartFacts
    content_count: int
    content_bytes: int


class _ContentTotals:
    """Counts contents that come in the order of their digests, equal ones once."""

    def __init__(self) -> None:
        self.count = self.size = 0
        self._last = ""

    def text_of(self, line: ContentLine) -> bytes:
        if line.sha256 != self._last:
            self._last = line.sha256
            self.count += 1
            self.size += line.size
        return content_line_text(line)


def dump(connection: Connection, metadata: MetaData, snapshot: Path, disk: Disk) -> Dump:
    """Write all that `connection` sees to the directory `snapshot`, a few rows in memory at a time."""
    tables = {
        table.name: write_part(
            disk, part_of_table(snapshot, table.name), map(line_of, rows_of(connection, table))
        )
        for table in carried_tables(metadata)
    }
    totals = _ContentTotals()
    lines = map(totals.text_of, contents_of(connection, metadata))
    contents = write_part(disk, snapshot / CONTENTS_PART, lines)
    return Dump(tables=tables, contents=contents, content_count=totals.count, content_bytes=totals.size)
