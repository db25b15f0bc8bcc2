"""Import routes: what other nodes push arrives here; receivers of one's own can take its place."""

from meteorpi_server.importer_api.import_request import ImportRequest
from meteorpi_server.importer_api.receiver import BaseImportReceiver, MeteorDatabaseImportReceiver
from meteorpi_server.importer_api.routes import add_routes
from meteorpi_server.importer_api.upload import IncomingFile

__all__ = [
    "BaseImportReceiver",
    "ImportRequest",
    "IncomingFile",
    "MeteorDatabaseImportReceiver",
    "add_routes",
]
