"""A node of the first generation: its tables in a real Firebird database, and its directory of contents.

The schema is that of section 4.10 of the contract. Its domain of flags has the name of a type that Firebird 3
knows itself, so it must be quoted here; a backup restored from Firebird 2.5 has it as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import fdb

from meteorpi_db.dialects import firebird_client

SCHEMA = """
CREATE DOMAIN "BOOLEAN" AS SMALLINT CHECK (value IS NULL OR value IN (0, 1));
CREATE TABLE t_user (userID VARCHAR(40) NOT NULL PRIMARY KEY, pwHash VARCHAR(87), roleMask INTEGER);
CREATE TABLE t_highWaterMark (cameraID CHAR(64), mark BIGINT);
CREATE TABLE t_cameraStatus (internalID INTEGER NOT NULL PRIMARY KEY,
    statusID CHAR(16) CHARACTER SET OCTETS, cameraID CHAR(64), validFrom BIGINT, softwareVersion INTEGER,
    orientationAltitude FLOAT, orientationAzimuth FLOAT, orientationRotation FLOAT, orientationError FLOAT,
    widthOfField FLOAT, locationLatitude FLOAT, locationLongitude FLOAT, locationError FLOAT,
    locationGPS "BOOLEAN", lens VARCHAR(40), sensor VARCHAR(40), instURL VARCHAR(255), instName VARCHAR(255));
CREATE TABLE t_visibleRegions (cameraStatusID INTEGER REFERENCES t_cameraStatus ON DELETE CASCADE,
    region INTEGER, pointOrder INTEGER, x INTEGER, y INTEGER);
CREATE TABLE t_event (internalID INTEGER NOT NULL PRIMARY KEY, eventID CHAR(16) CHARACTER SET OCTETS,
    cameraID CHAR(64), eventTime BIGINT, eventOffset INTEGER, eventType VARCHAR(255),
    statusID INTEGER REFERENCES t_cameraStatus ON DELETE CASCADE);
CREATE TABLE t_file (internalID INTEGER NOT NULL PRIMARY KEY, cameraID CHAR(64),
    fileID CHAR(16) CHARACTER SET OCTETS, mimeType VARCHAR(100), fileName VARCHAR(255),
    semanticType VARCHAR(255), fileTime BIGINT, fileOffset INTEGER, fileSize INTEGER,
    statusID INTEGER REFERENCES t_cameraStatus ON DELETE CASCADE, md5Hex CHAR(32));
CREATE TABLE t_eventMeta (internalID INTEGER NOT NULL PRIMARY KEY, metaKey VARCHAR(255),
    stringValue VARCHAR(255), dateValue BIGINT, floatValue FLOAT,
    owner INTEGER REFERENCES t_event ON DELETE CASCADE, metaIndex INTEGER);
CREATE TABLE t_fileMeta (internalID INTEGER NOT NULL PRIMARY KEY, metaKey VARCHAR(255),
    stringValue VARCHAR(255), dateValue BIGINT, floatValue FLOAT,
    fileRow INTEGER REFERENCES t_file ON DELETE CASCADE, metaIndex INTEGER);
CREATE TABLE t_event_to_file (fileID INTEGER NOT NULL, eventID INTEGER NOT NULL,
    sequenceNumber INTEGER, PRIMARY KEY (fileID, eventID));
CREATE TABLE t_exportConfig (internalID INTEGER NOT NULL PRIMARY KEY,
    exportConfigID CHAR(16) CHARACTER SET OCTETS, exportType VARCHAR(10), searchString VARCHAR(2048),
    targetURL VARCHAR(255), targetUser VARCHAR(255), targetPassword VARCHAR(255),
    exportName VARCHAR(255) CHARACTER SET NONE,
    description VARCHAR(2048), active "BOOLEAN");
CREATE TABLE t_eventExport (eventID INTEGER REFERENCES t_event ON DELETE CASCADE,
    exportConfig INTEGER REFERENCES t_exportConfig ON DELETE CASCADE, exportTime BIGINT, exportState INTEGER);
CREATE TABLE t_fileExport (fileID INTEGER REFERENCES t_file ON DELETE CASCADE,
    exportConfig INTEGER REFERENCES t_exportConfig ON DELETE CASCADE, exportTime BIGINT, exportState INTEGER);
CREATE TABLE t_eventImport (eventID INTEGER REFERENCES t_event ON DELETE CASCADE, importUser VARCHAR(40),
    importTime BIGINT);
CREATE TABLE t_fileImport (fileID INTEGER REFERENCES t_file ON DELETE CASCADE, importUser VARCHAR(40),
    importTime BIGINT)
"""


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class LegacyNode:
    """Makes rows of the tables; internal ids are given in the order of the calls.

    Args:
        path: of the database file, which is created.
        store: directory of contents, which is created.
    """

    def __init__(self, path: Path, store: Path) -> None:
        self.path = path
        self.store = store
        store.mkdir()
        firebird_client.prepare(path)
        self._last = 0
        with firebird_client.keeping_signal_handlers():
            made = fdb.create_database(
                dsn=str(path), user="SYSDBA", password="masterkey", charset="UNICODE_FSS", page_size=8192
            )
        with closing(made):
            for statement in SCHEMA.split(";"):
                made.execute_immediate(statement)
            made.commit()
            tables = [part.split()[2] for part in SCHEMA.split(";") if "CREATE TABLE" in part]
            for table in tables:
                made.execute_immediate(f"GRANT SELECT ON {table} TO PUBLIC")
            made.commit()

    def execute(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Run statements with their parameters, and commit."""
        with closing(
            fdb.connect(dsn=str(self.path), user="SYSDBA", password="masterkey", charset="UTF8")
        ) as connection:
            cursor = connection.cursor()
            for statement, parameters in statements:
                cursor.execute(statement, tuple(parameters))
            connection.commit()

    def insert(self, table: str, **values: Any) -> int:
        """Add a row; tables with an internal id get the next one, which is given back."""
        if "internalID" not in values and table in _NUMBERED:
            self._last += 1
            values["internalID"] = self._last
        marks = ", ".join("?" * len(values))
        stored = [value.bytes if isinstance(value, UUID) else value for value in values.values()]
        self.execute((f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", stored))
        return int(values.get("internalID", 0))

    def add_status(self, status_id: UUID, camera: str, valid_from: int, **changes: Any) -> int:
        values = {
            "softwareVersion": 1,
            "orientationAltitude": 45.1,
            "orientationAzimuth": 180.0,
            "orientationRotation": 3.3,
            "orientationError": 0.7,
            "widthOfField": 33.3,
            "locationLatitude": 52.2,
            "locationLongitude": 0.1234567,
            "locationError": 12.8,
            "locationGPS": 1,
            "lens": "VF-DCD-AI-3.5-18-C-2MP",
            "sensor": "watec_902h2_ultimate",
            "instURL": None,
            "instName": "Sternwarte Grüße ☄",
        }
        return self.insert(
            "t_cameraStatus", statusID=status_id, cameraID=camera, validFrom=valid_from, **values | changes
        )

    def add_region(self, status: int, region: int, corners: Sequence[tuple[int, int]]) -> None:
        for order, (x, y) in reversed(list(enumerate(corners))):
            self.insert("t_visibleRegions", cameraStatusID=status, region=region, pointOrder=order, x=x, y=y)

    def add_file(
        self, file_id: UUID, camera: str, time: int, status: int | None, content: bytes | None, **changes: Any
    ) -> int:
        """Add a file record, and its content unless that is None."""
        if content is not None:
            (self.store / file_id.hex).write_bytes(content)
        values = {
            "mimeType": "image/png",
            "fileName": None,
            "semanticType": "meteorpi:timelapse/frame",
            "fileOffset": 0,
            "fileSize": len(content or b""),
            "md5Hex": md5_of(content or b""),
        }
        return self.insert(
            "t_file", fileID=file_id, cameraID=camera, fileTime=time, statusID=status, **values | changes
        )

    def add_event(
        self, event_id: UUID, camera: str, time: int, status: int, files: Sequence[int] = ()
    ) -> int:
        event = self.insert(
            "t_event",
            eventID=event_id,
            cameraID=camera,
            eventTime=time,
            eventOffset=0,
            eventType="meteorpi:meteorpi",
            statusID=status,
        )
        for sequence, file in reversed(list(enumerate(files))):
            self.insert("t_event_to_file", fileID=file, eventID=event, sequenceNumber=sequence)
        return event

    def add_meta(self, table: str, owner: int, index: int, key: str, **value: Any) -> None:
        column = "fileRow" if table == "t_fileMeta" else "owner"
        self.insert(table, metaKey=key, metaIndex=index, **{column: owner}, **value)

    def add_export(self, config_id: UUID, kind: str, search: str, **changes: Any) -> int:
        values = {
            "targetURL": "https://hub.example/import",
            "targetUser": "station",
            "targetPassword": "geheim ☄",
            "exportName": f"all {kind}s",
            "description": "",
            "active": 1,
        }
        return self.insert(
            "t_exportConfig",
            exportConfigID=config_id,
            exportType=kind,
            searchString=search,
            **values | changes,
        )


_NUMBERED = {
    "t_cameraStatus",
    "t_event",
    "t_file",
    "t_eventMeta",
    "t_fileMeta",
    "t_exportConfig",
}
