"""Detections of an RMS night as events: identity, metadata, and the positions as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from meteorpi_db.ingest.base import EventItem, FileItem
from meteorpi_db.ingest.identity import event_identity
from meteorpi_db.ingest.rms_detections import Detection, Point, angular_distance
from meteorpi_db.ingest.rms_names import NAMESPACE
from meteorpi_model.records import Meta, MetaValue
from meteorpi_model.values import NSString, truncate_to_milliseconds, utc_datetime_to_milliseconds

METEOR_TYPE = NSString("meteor")
PATH_TYPE = NSString("path")
_COLUMNS = ("time", "frame", "x", "y", "ra", "dec", "azimuth", "altitude", "intensity", "magnitude")


def event_of(
    detection: Detection,
    camera_id: str,
    repetition: int,
    recordings: Sequence[FileItem],
    others: Iterable[FileItem],
) -> EventItem:
    """A detection as an event.

    Args:
        detection: the detection.
        camera_id: the camera.
        repetition: how many detections before it had the same FF file and number; 0 in a sound file.
        recordings: files that show it; they come first among the files of the event.
        others: files about it; they come after the positions.
    """
    event_id = _identity(detection, camera_id, repetition)
    return EventItem(
        event_id=event_id,
        camera_id=camera_id,
        event_time=truncate_to_milliseconds(detection.start),
        event_type=METEOR_TYPE,
        meta=tuple(_metadata(detection, camera_id)),
        files=(*recordings, _path_file(detection, camera_id, event_id), *others),
    )


def best_match(measured: Detection, candidates: Iterable[Detection]) -> Detection | None:
    """The detection that `measured` measures again: the same FF file, most frames in common, then nearest."""
    same_file = [candidate for candidate in candidates if candidate.ff_name == measured.ff_name]
    return max(
        same_file, key=lambda each: (_common_frames(measured, each), -_distance(measured, each)), default=None
    )


def match_at(time: datetime, candidates: Iterable[Detection]) -> Detection | None:
    """The detection whose FF file starts at `time`, to the second."""
    return next((each for each in candidates if _ff_start(each).replace(microsecond=0) == time), None)


def _ff_start(detection: Detection) -> datetime:
    return detection.start - timedelta(seconds=detection.points[0].frame / detection.fps)


def _common_frames(first: Detection, second: Detection) -> float:
    begin = max(first.points[0].frame, second.points[0].frame)
    return min(first.points[-1].frame, second.points[-1].frame) - begin


def _distance(first: Detection, second: Detection) -> float:
    (x0, y0), (x1, y1) = _middle(first.points), _middle(second.points)
    return abs(x0 - x1) + abs(y0 - y1)


def _middle(points: Sequence[Point]) -> tuple[float, float]:
    return sum(point.x for point in points) / len(points), sum(point.y for point in points) / len(points)


def _identity(detection: Detection, camera_id: str, repetition: int) -> UUID:
    recording = detection.ff_name.partition(".")[0]
    return event_identity(
        camera_id, f"{recording}#{repetition}" if repetition else recording, detection.number
    )


def _metadata(detection: Detection, camera_id: str) -> Iterable[Meta]:
    points = detection.points
    values: dict[str, MetaValue] = {
        "cameraId": camera_id,
        "detector": "RMS",
        "duration": round(detection.duration_seconds, 4),
        "detectionCount": len(points),
        "amplitudePeak": max(point.intensity for point in points),
        "amplitudeTimeIntegrated": sum(point.intensity for point in points),
        "pixelsPerFrame": detection.pixels_per_frame,
        "framesPerSecond": detection.fps,
        **_ends("x", points[0].x, points[-1].x),
        **_ends("y", points[0].y, points[-1].y),
    }
    if detection.is_calibrated:
        values |= _directions(detection)
    yield from (Meta(NSString(name), value) for name, value in values.items())
    yield Meta(NSString("ffFile", NAMESPACE), detection.ff_name)
    yield Meta(NSString("meteorNumber", NAMESPACE), detection.number)
    yield Meta(NSString("calibration", NAMESPACE), detection.calibration or "not stated")
    yield Meta(NSString("firstFrame", NAMESPACE), points[0].frame)
    yield Meta(NSString("lastFrame", NAMESPACE), points[-1].frame)


def _directions(detection: Detection) -> dict[str, MetaValue]:
    first, last = detection.points[0], detection.points[-1]
    length = angular_distance(first, last)
    values: dict[str, MetaValue] = {
        **_ends("azimuth", first.azimuth, last.azimuth),
        **_ends("altitude", first.altitude, last.altitude),
        **_ends("ra", first.ra, last.ra),
        **_ends("decl", first.dec, last.dec),
        "angularLength": round(length, 4),
    }
    if detection.duration_seconds > 0:
        values["angularSpeed"] = round(length / detection.duration_seconds, 4)
    magnitudes = [point.magnitude for point in detection.points if point.magnitude is not None]
    if magnitudes:
        values["magnitudePeak"] = min(magnitudes)
    return values


def _ends(name: str, begin: float, end: float) -> dict[str, MetaValue]:
    return {f"{name}Begin": begin, f"{name}End": end}


def _path_file(detection: Detection, camera_id: str, event_id: UUID) -> FileItem:
    start = truncate_to_milliseconds(detection.start)
    head = {
        "camera_id": camera_id,
        "event_id": event_id.hex,
        "event_time": utc_datetime_to_milliseconds(start),
        "recording": detection.ff_name,
        "frames_per_second": detection.fps,
        "is_calibrated": detection.is_calibrated,
        "calibration": detection.calibration,
        "columns": _COLUMNS,
    }
    rows = ",\n  ".join(json.dumps(_path_row(detection, point)) for point in detection.points)
    text = f'{json.dumps(head)[:-1]}, "points": [\n  {rows}\n]}}\n'
    recording = detection.ff_name.partition(".")[0]
    return FileItem(
        source=text.encode(),
        name=f"{recording}_{detection.number:04d}_path.json",
        camera_id=camera_id,
        mime_type="application/json",
        semantic_type=PATH_TYPE,
        file_time=start,
    )


def _path_row(detection: Detection, point: Point) -> list[float | None]:
    moment = detection.time_of(point)
    milliseconds = utc_datetime_to_milliseconds(moment) + moment.microsecond % 1000 / 1000
    sky = (point.ra, point.dec, point.azimuth, point.altitude) if detection.is_calibrated else (None,) * 4
    magnitude = point.magnitude if detection.is_calibrated else None
    return [milliseconds, point.frame, point.x, point.y, *sky, point.intensity, magnitude]
