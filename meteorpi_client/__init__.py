"""Read, and administer, a node over HTTP.

Needs :mod:`meteorpi_model` and Requests; pandas only for ``to_pandas()``::

    client = MeteorClient("https://example.org/api")
    for record in client.iterate_files(FileRecordSearch(limit=0)):
        record.download_to(folder / record.file_id.hex)
"""

from meteorpi_client.admin import AdminClient
from meteorpi_client.admin_results import ApiToken, AuditEntry, ExportState
from meteorpi_client.archive_check import check_archive
from meteorpi_client.archive_report import ArchiveReport
from meteorpi_client.archives import ArchiveClient, Fetched, Ticket, split_link
from meteorpi_client.client import MeteorClient
from meteorpi_client.node import NodeClient
from meteorpi_client.results import EventSearchResult, FileSearchResult
from meteorpi_client.resuming import Progress

__all__ = [
    "AdminClient",
    "ApiToken",
    "ArchiveClient",
    "ArchiveReport",
    "AuditEntry",
    "EventSearchResult",
    "ExportState",
    "Fetched",
    "FileSearchResult",
    "MeteorClient",
    "NodeClient",
    "Progress",
    "Ticket",
    "check_archive",
    "split_link",
]
