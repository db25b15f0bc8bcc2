"""Taking in what cameras left on disk: pictures, videos, and whole nights of RMS stations."""

from meteorpi_db.ingest.base import IngestOptions, StatusFacts
from meteorpi_db.ingest.report import IngestReport, Progress, Trouble
from meteorpi_db.ingest.runner import ingest
from meteorpi_db.ingest.watch import Watcher

__all__ = ["IngestOptions", "IngestReport", "Progress", "StatusFacts", "Trouble", "Watcher", "ingest"]
