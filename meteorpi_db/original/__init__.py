"""Importing a database of the first generation (Firebird, 2014 to 2015) with its file store."""

from meteorpi_db.original.importer import OriginalImport, import_original
from meteorpi_db.original.report import OriginalReport, OriginalTrouble

__all__ = ["OriginalImport", "OriginalReport", "OriginalTrouble", "import_original"]
