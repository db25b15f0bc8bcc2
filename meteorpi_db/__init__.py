"""What a node remembers, and passes on: records, file store, export."""

from meteorpi_db.audit import AuditEntry
from meteorpi_db.database import SOFTWARE_VERSION, MeteorDatabase
from meteorpi_db.deletion import DeletionReport
from meteorpi_db.events import NewEvent
from meteorpi_db.exports import ExportState
from meteorpi_db.files import NewFile
from meteorpi_db.integrity import VerifyReport
from meteorpi_db.tasks import EventExportTask, FileExportTask
from meteorpi_db.tokens import ApiToken
from meteorpi_db.users import Account

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
