"""What MeteorPi nodes say to each other: records, searches, users and their JSON forms.

Needs nothing but the standard library, so that a user of remote data can install it anywhere.
"""

from meteorpi_model.export import ExportConfiguration
from meteorpi_model.records import Event, FileRecord, Meta
from meteorpi_model.search import EventSearch, FileRecordSearch, MetaConstraint
from meteorpi_model.status import CameraStatus, Location, Orientation
from meteorpi_model.users import User
from meteorpi_model.values import (
    ModelEqualityMixin,
    NSString,
    get_day_and_offset,
    get_md5_hash,
    milliseconds_to_utc_datetime,
    now,
    utc_datetime_to_milliseconds,
)

__all__ = [
    "CameraStatus",
    "Event",
    "EventSearch",
    "ExportConfiguration",
    "FileRecord",
    "FileRecordSearch",
    "Location",
    "Meta",
    "MetaConstraint",
    "ModelEqualityMixin",
    "NSString",
    "Orientation",
    "User",
    "get_day_and_offset",
    "get_md5_hash",
    "milliseconds_to_utc_datetime",
    "now",
    "utc_datetime_to_milliseconds",
]
