"""What a node remembers, and passes on: records, file store, export."""

from meteorpi_db.accounts.audit import AuditEntry
from meteorpi_db.accounts.tokens import ApiToken
from meteorpi_db.accounts.users import Account
from meteorpi_db.database import SOFTWARE_VERSION, MeteorDatabase
from meteorpi_db.exporting.exports import ExportState
from meteorpi_db.exporting.tasks import EventExportTask, FileExportTask
from meteorpi_db.integrity import VerifyReport
from meteorpi_db.records.deletion import DeletionReport
from meteorpi_db.records.events import NewEvent
from meteorpi_db.records.files import NewFile

__all__ = [
    "SOFTWARE_VERSION",
    "Account",
    "ApiToken",
    "AuditEntry",
    "DeletionReport",
    "EventExportTask",
    "ExportState",
    "FileExportTask",
    "MeteorDatabase",
    "NewEvent",
    "NewFile",
    "VerifyReport",
]
