"""Where a camera stood, how it pointed and what it was made of, from some time on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from meteorpi_model.documents import (
    as_flag,
    as_id,
    as_integer,
    as_list,
    as_number,
    as_text,
    as_time,
    drop_missing,
    read,
    read_optional,
    require_object,
)
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import JsonObject, ModelEqualityMixin, utc_datetime_to_milliseconds


class Point(TypedDict):
    """A corner of a region in image pixels, origin top left, y downwards."""

    x: float
    y: float


Polygon = list[Point]


def _amount(document: Mapping[str, object], key: str) -> float:
    """The number under `key`, whole ones included as they are; 0.0 when it is missing."""
    value = read_optional(document, key, as_number)
    return 0.0 if value is None else value


class Location(ModelEqualityMixin):
    """A place on Earth.

    Attributes:
        latitude: degrees, north positive.
        longitude: degrees, east positive.
        gps: True when fixed by GPS.
        error: metres.
    """

    def __init__(
        self, latitude: float = 0.0, longitude: float = 0.0, gps: bool = False, error: float = 0.0
    ) -> None:
        self.latitude = latitude
        self.longitude = longitude
        self.gps = gps
        self.error = error

    def as_dict(self) -> JsonObject:
        """``{'lat', 'long', 'gps', 'error'}``."""
        return {"lat": self.latitude, "long": self.longitude, "gps": self.gps, "error": self.error}

    @staticmethod
    def from_dict(d: object) -> Location:
        """Read the form given by :meth:`as_dict`."""
        document = require_object(d, "a location")
        return Location(
            latitude=read(document, "lat", as_number),
            longitude=read(document, "long", as_number),
            gps=read_optional(document, "gps", as_flag) or False,
            error=_amount(document, "error"),
        )

    def __repr__(self) -> str:
        return f"Location({self.latitude}, {self.longitude}, gps={self.gps}, error={self.error})"


class Orientation(ModelEqualityMixin):
    """Where a camera points. Note the order of the arguments: the error is third.

    Attributes:
        altitude: degrees above the horizon of the centre of the field.
        azimuth: degrees east of north of the centre of the field.
        error: degrees, of all three angles.
        rotation: position angle at the frame centre in degrees: which celestial direction points up
            (0 north, 90 east).
        width_of_field: degrees from the middle of the left edge to the frame centre: half the width.
    """

    def __init__(
        self,
        altitude: float = 0.0,
        azimuth: float = 0.0,
        error: float = 0.0,
        rotation: float = 0.0,
        width_of_field: float = 0.0,
    ) -> None:
        self.altitude = altitude
        self.azimuth = azimuth
        self.error = error
        self.rotation = rotation
        self.width_of_field = width_of_field

    def as_dict(self) -> JsonObject:
        """``{'alt', 'az', 'error', 'rot', 'width'}``."""
        return {
            "alt": self.altitude,
            "az": self.azimuth,
            "error": self.error,
            "rot": self.rotation,
            "width": self.width_of_field,
        }

    @staticmethod
    def from_dict(d: object) -> Orientation:
        """Read the form given by :meth:`as_dict`."""
        document = require_object(d, "an orientation")
        return Orientation(
            altitude=read(document, "alt", as_number),
            azimuth=read(document, "az", as_number),
            error=_amount(document, "error"),
            rotation=_amount(document, "rot"),
            width_of_field=_amount(document, "width"),
        )

    def __repr__(self) -> str:
        return (
            f"Orientation(alt={self.altitude}, az={self.azimuth}, error={self.error}, "
            f"rot={self.rotation}, width={self.width_of_field})"
        )


class CameraStatus(ModelEqualityMixin):
    """The set-up of a camera over an interval of time.

    Attributes:
        lens, sensor: names from the hardware lists.
        inst_url, inst_name: page and name of the installation, or None.
        orientation, location: where it points and stands.
        camera_id: the camera, up to 64 characters.
        status_id: identity, assigned by the database.
        software_version: version of the software that wrote the status.
        valid_from: UTC, inclusive; None before registration.
        valid_to: UTC, exclusive; None while it is the current status.
        regions: polygons, in image pixels, where the sky is visible.
    """

    def __init__(
        self,
        lens: str,
        sensor: str,
        inst_url: str | None,
        inst_name: str | None,
        orientation: Orientation,
        location: Location,
        camera_id: str,
        status_id: UUID | None = None,
    ) -> None:
        self.lens = lens
        self.sensor = sensor
        self.inst_url = inst_url
        self.inst_name = inst_name
        self.orientation = orientation
        self.location = location
        self.camera_id = camera_id
        self.status_id = status_id
        self.software_version = 1
        self.valid_from: datetime | None = None
        self.valid_to: datetime | None = None
        self.regions: list[Polygon] = []

    def add_region(self, flat: Sequence[float]) -> None:
        """Append one polygon given as x0, y0, x1, y1, ...

        Raises:
            InvalidDocumentError: an odd number of coordinates, or fewer than three corners.
        """
        if len(flat) % 2 or len(flat) < 6:
            raise InvalidDocumentError(
                f"a region needs x and y of three or more corners, not {len(flat)} numbers"
            )
        self.regions.append([{"x": x, "y": y} for x, y in zip(flat[::2], flat[1::2], strict=True)])

    def as_dict(self) -> JsonObject:
        """The wire form."""
        return drop_missing(
            {
                "status_id": None if self.status_id is None else self.status_id.hex,
                "camera_id": self.camera_id,
                "lens": self.lens,
                "sensor": self.sensor,
                "inst_url": self.inst_url,
                "inst_name": self.inst_name,
                "software_version": self.software_version,
                "valid_from": utc_datetime_to_milliseconds(self.valid_from),
                "valid_to": utc_datetime_to_milliseconds(self.valid_to),
                "location": self.location.as_dict(),
                "orientation": self.orientation.as_dict(),
                "regions": [[dict(point) for point in polygon] for polygon in self.regions],
            }
        )

    @staticmethod
    def from_dict(d: object) -> CameraStatus:
        """Read the wire form; `location`, `orientation` and `regions` must be there."""
        document = require_object(d, "a camera status")
        status = CameraStatus(
            lens=read(document, "lens", as_text),
            sensor=read(document, "sensor", as_text),
            inst_url=read_optional(document, "inst_url", as_text),
            inst_name=read_optional(document, "inst_name", as_text),
            orientation=read(document, "orientation", Orientation.from_dict),
            location=read(document, "location", Location.from_dict),
            camera_id=read(document, "camera_id", as_text),
            status_id=read_optional(document, "status_id", as_id),
        )
        version = read_optional(document, "software_version", as_integer)
        status.software_version = 1 if version is None else version
        status.valid_from = read_optional(document, "valid_from", as_time)
        status.valid_to = read_optional(document, "valid_to", as_time)
        status.regions = read(document, "regions", as_regions)
        return status

    def __repr__(self) -> str:
        status_id = "unregistered" if self.status_id is None else self.status_id.hex
        return (
            f"CameraStatus({status_id}, camera={self.camera_id}, from={self.valid_from}, to={self.valid_to}, "
            f"lens={self.lens!r}, sensor={self.sensor!r}, name={self.inst_name!r}, url={self.inst_url!r}, "
            f"{self.location}, {self.orientation}, regions={self.regions})"
        )


def as_regions(value: object) -> list[Polygon]:
    """Read a list of polygons, each a list of ``{'x', 'y'}`` in pixels."""
    return as_list(as_list(_as_point))(value)


def _as_point(value: object) -> Point:
    document = require_object(value, "a corner of a region")
    return {"x": read(document, "x", as_number), "y": read(document, "y", as_number)}
