"""Archives: many files as one zip whose every byte is known before it is sent.

Nothing here knows of web requests or of the database: routes and command line plan what goes into an archive,
and hand the plan to :mod:`.sending`.
"""

from meteorpi_server.archiving.entries import Entry, Form
from meteorpi_server.archiving.plan import OnError, Plan
from meteorpi_server.archiving.zip_layout import Slice, ZipLayout

__all__ = ["Entry", "Form", "OnError", "Plan", "Slice", "ZipLayout"]
