"""Backups of a node while it is at work, restoring them into any engine, and copying between engines."""

from meteorpi_db.backup.checking import CheckReport, check_snapshot, summary
from meteorpi_db.backup.copying import CopyReport, copy_database, require_no_exporter
from meteorpi_db.backup.making import BackupReport, Node, back_up
from meteorpi_db.backup.manifest import Lost, Manifest
from meteorpi_db.backup.repository import Repository
from meteorpi_db.backup.restoring import RestoreOptions, RestoreReport, restore

__all__ = [
    "BackupReport",
    "CheckReport",
    "CopyReport",
    "Lost",
    "Manifest",
    "Node",
    "Repository",
    "RestoreOptions",
    "RestoreReport",
    "back_up",
    "check_snapshot",
    "copy_database",
    "require_no_exporter",
    "restore",
    "summary",
]
