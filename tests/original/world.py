"""One node of the first generation with everything that is awkward in one, and what is to come out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from uuid import UUID

from tests.original.legacy import LegacyNode, md5_of

CAMERA: Final = "Ünï camera"
FAR_CAMERA: Final = "far"
START: Final = 1427846400000
PASSWORD: Final = "pass word ☄"
PASSWORD_HASH: Final = (
    "$pbkdf2-sha256$20000$MDEyMzQ1Njc4OWFiY2RlZg$kmwiuE6mj4c7seubo2jbpH9hUlWyjniGVwUGLA4aGHc"
)

FIRST_STATUS, SECOND_STATUS, FAR_STATUS = UUID(int=0xA1), UUID(int=0xA2), UUID(int=0xA3)
NOTED, SHARED, SHOWN, LATE, PLAIN, RECEIVED = (UUID(int=0xF0 + n) for n in range(6))
MISSING, DAMAGED, UNTYPED, REPEATED, UNREADABLE = (UUID(int=0xB0 + n) for n in range(5))
PAIR, SHORT, EMPTY, TWIN = (UUID(int=0xE0 + n) for n in range(4))
FILE_EXPORT, EVENT_EXPORT, BROKEN_EXPORT = (UUID(int=0xC0 + n) for n in range(3))

GOOD_FILES: Final = {NOTED, SHARED, SHOWN, LATE, PLAIN, RECEIVED, REPEATED}


def content_of(file_id: UUID) -> bytes:
    return f"picture {file_id.hex}".encode()


def make(directory: Path) -> LegacyNode:
    """Make it below `directory`, as ``old.fdb`` and ``oldfiles``."""
    node = LegacyNode(directory / "old.fdb", directory / "oldfiles")
    node.insert("t_user", userID="ada", pwHash=PASSWORD_HASH, roleMask=0b11)
    node.insert("t_user", userID="bob", pwHash="$2a$10$of another kind", roleMask=1)
    node.insert("t_highWaterMark", cameraID=CAMERA, mark=START + 5_000_000)
    first = node.add_status(FIRST_STATUS, CAMERA, START - 1000)
    node.add_region(first, 0, [(0, 0), (720, 0), (720, 576)])
    node.add_region(first, 1, [(10, 10), (20, 10), (20, 20), (10, 20)])
    node.add_region(first, 2, [(1, 1), (2, 2)])
    second = node.add_status(SECOND_STATUS, CAMERA, START + 3_000_000, locationGPS=0, lens="x", instName=None)
    far = node.add_status(FAR_STATUS, FAR_CAMERA, START, softwareVersion=7)
    files = _add_files(node, first, second, far)
    _add_events(node, first, far, files)
    return node


def _add_files(node: LegacyNode, first: int, second: int, far: int) -> dict[UUID, int]:
    files: dict[UUID, int] = {}

    def add(file_id: UUID, minute: int, status: int | None, camera: str = CAMERA, **changes: object) -> int:
        content = content_of(file_id)
        time = START + 60_000 * minute + 123
        files[file_id] = node.add_file(file_id, camera, time, status, content, **changes)
        return files[file_id]

    noted = add(NOTED, 1, first, fileName="Bild № 1 ☄.png")
    node.add_meta("t_fileMeta", noted, 2, "meteorpi:skyClarity", floatValue=61.7)
    node.add_meta("t_fileMeta", noted, 0, "meteorpi:note", stringValue="Wölkchen ☁")
    node.add_meta("t_fileMeta", noted, 1, "other:seen", dateValue=START + 7)
    node.add_meta("t_fileMeta", noted, 3, "meteorpi:nothing")
    add(SHARED, 2, first, semanticType="meteorpi:triggers/event/maxBrightness")
    add(SHOWN, 3, first, mimeType="video/mp4")
    add(LATE, 60, second)
    add(PLAIN, 61, None, md5Hex=None)
    received = add(RECEIVED, 62, far, FAR_CAMERA)
    node.insert("t_fileImport", fileID=received, importUser="farmer", importTime=START + 9_000_000)
    add(REPEATED, 5, first, fileName="the first of two")
    add(REPEATED, 6, first, fileName="the second of two")
    add(MISSING, 7, first)
    (node.store / MISSING.hex).unlink()
    add(DAMAGED, 8, first, md5Hex=md5_of(b"what it was once"))
    add(UNTYPED, 9, first, mimeType=None)
    add(UNREADABLE, 10, first)
    (node.store / UNREADABLE.hex).unlink()
    (node.store / UNREADABLE.hex).mkdir()
    return files


def _add_events(node: LegacyNode, first: int, far: int, files: dict[UUID, int]) -> None:
    pair = node.add_event(PAIR, CAMERA, START + 120_456, first, [files[SHOWN], files[SHARED]])
    node.add_meta("t_eventMeta", pair, 0, "meteorpi:duration", floatValue=1.5)
    node.add_event(SHORT, CAMERA, START + 130_000, first, [files[MISSING], files[SHARED]])
    node.add_event(EMPTY, CAMERA, START + 140_000, first)
    twin = node.add_event(TWIN, FAR_CAMERA, START + 150_000, far, [files[RECEIVED]])
    node.insert("t_eventImport", eventID=twin, importUser="farmer", importTime=START + 9_000_000)
    node.add_event(TWIN, FAR_CAMERA, START + 150_000, far, [files[LATE]])
    to_file = node.add_export(
        FILE_EXPORT, "file", '{"limit": 0, "skip": 0, "meta": [], "exclude_events": true}'
    )
    to_event = node.add_export(
        EVENT_EXPORT,
        "event",
        json.dumps({"camera_ids": [CAMERA], "exclude_incomplete": 1}),
        exportName=b"B\xfcro",  # as a driver wrote it that did not know of character sets
    )
    node.add_export(BROKEN_EXPORT, "file", "{not json")
    for file_id, state in ((NOTED, 0), (LATE, 1)):
        node.insert(
            "t_fileExport",
            fileID=files[file_id],
            exportConfig=to_file,
            exportTime=START + 8_000_000,
            exportState=state,
        )
    node.insert(
        "t_eventExport", eventID=pair, exportConfig=to_event, exportTime=START + 8_000_000, exportState=0
    )
