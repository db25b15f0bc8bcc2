"""What the files of an RMS night are, told by their names, as semantic types of the namespace ``rms``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from meteorpi_db.ingest.media import UNKNOWN, Kind, media_of
from meteorpi_db.ingest.rms_formats import find_stamp, parse_detections_name, parse_ff_name
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import NSString

NAMESPACE = "rms"
CONFIG_NAME = ".config"
DEFAULT_PLATEPAR_NAME = "platepar_cmn2010.cal"
DEFAULT_MASK_NAME = "mask.bmp"

_ISO_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)_(\d\d)_(\d\d)")
_NIGHT = r"[A-Za-z0-9]+_\d{8}_\d{6}_\d{3,6}"
_TYPES = [
    (re.compile(pattern), NSString.from_string(semantic_type))
    for pattern, semantic_type in (
        (rf"{_NIGHT}(_[dn])?\.(jpg|png)", "meteorpi:timelapse/frame"),
        (r"FF_?.*\.(fits|bin)", "rms:ff"),
        (r"FF_.*\.(jpg|jpeg|png|bmp)", "rms:ff/picture"),
        (r"FF_.*\.(mp4|avi|mkv|mov)", "rms:ff/video"),
        (r"FR_.*\.bin", "rms:fireball"),
        (r"FS_.*", "rms:fieldSums"),
        (r"CALSTARS_.*\.txt", "rms:calstars"),
        (r"platepars_all_recalibrated\.json", "rms:platepar/recalibrated"),
        (r"platepars_flux_recalibrated\.json", "rms:platepar/flux"),
        (r"platepar.*\.(cal|json)", "rms:platepar"),
        (r"flux_.*", "rms:flux"),
        (r"mask.*\.(bmp|png)", "rms:mask"),
        (r"flat.*\.(bmp|png)", "rms:flat"),
        (r"dark.*\.(bmp|png)", "rms:dark"),
        (r".*_CAPTURED_thumbs\.\w+", "rms:thumbnails/captured"),
        (r".*_DETECTED_thumbs\.\w+", "rms:thumbnails/detected"),
        (r".*_track_stack\.\w+", "rms:stack/track"),
        (r".*_stack_.*\.\w+", "rms:stack"),
        (r".*_calib_report_astrometry\.\w+", "rms:report/astrometry"),
        (r".*_calib_report_photometry\.\w+", "rms:report/photometry"),
        (r".*_calibration_variation\.\w+", "rms:report/astrometryVariation"),
        (r".*_photometry_variation\.\w+", "rms:report/photometryVariation"),
        (r".*_fieldsums.*\.png", "rms:report/fieldSums"),
        (r".*_observing_periods\.\w+", "rms:report/observingPeriods"),
        (r".*_radiants\.txt", "rms:radiants"),
        (r".*_radiants\.\w+", "rms:report/radiants"),
        (r".*_timelapse.*\.(mp4|avi)", "rms:timelapse"),
        (r".*\.ecsv", "rms:measurement"),
        (r".*\.csv", "rms:table"),
        (r".*\.kml", "rms:coverage"),
        (r"log.*|.*\.log", "meteorpi:logfile"),
    )
]
_OTHER = NSString("file", NAMESPACE)


@dataclass(frozen=True)
class RmsFile:
    """What the name of a file says.

    Attributes:
        mime_type: its format.
        semantic_type: its meaning.
        time: UTC time it names, or None.
        code: station code it names, or None.
    """

    mime_type: str
    semantic_type: NSString
    time: datetime | None
    code: str | None


def describe(name: str) -> RmsFile:
    """What the name of a file in an RMS night says about it."""
    media = media_of(name)
    mime_type = media.mime_type
    if media is UNKNOWN and name.endswith(".cal"):
        mime_type = "application/json"
    if media.kind is Kind.OTHER and name.startswith("log"):
        mime_type = "text/plain"
    return RmsFile(mime_type, _semantic_type(name), find_stamp(name) or _iso_stamp(name), _code(name))


def detections_variant(name: str) -> str | None:
    """Empty for the detections of the night, the variant for others, None for another kind of file."""
    try:
        return parse_detections_name(name).variant
    except InvalidDocumentError:
        return None


def _semantic_type(name: str) -> NSString:
    if (variant := detections_variant(name)) is not None:
        return NSString(f"ftpdetectinfo/{variant}" if variant else "ftpdetectinfo", NAMESPACE)
    return next((found for pattern, found in _TYPES if pattern.fullmatch(name)), _OTHER)


def _code(name: str) -> str | None:
    for parse in (parse_ff_name, parse_detections_name):
        try:
            return parse(name).code
        except InvalidDocumentError:
            continue
    return None


def _iso_stamp(name: str) -> datetime | None:
    match = _ISO_STAMP.search(name)
    try:
        return None if match is None else datetime.fromisoformat(match[0].replace("_", ":"))
    except ValueError:
        return None
