"""Camera statuses from what readers find out, stored only where they say something new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meteorpi_db.ingest.base import StatusFacts, StatusItem
from meteorpi_db.ingest.identity import status_identity
from meteorpi_db.records import imports, statuses
from meteorpi_model import CameraStatus, Location, Orientation, utc_datetime_to_milliseconds
from meteorpi_model.errors import UnknownStatusError

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

_UNKNOWN = "unknown"


def store_setup(db: MeteorDatabase, item: StatusItem) -> bool:
    """Make the status in force at a time say what is known; True when that took a new one.

    Nothing is ever deleted: unlike ``update_camera_status`` this does not touch the high water mark.

    Raises:
        UnknownStatusError: the camera has no status then, and its location is not known.
    """
    time = utc_datetime_to_milliseconds(item.valid_from)
    with db.transactions.reading() as connection:
        in_force = statuses.status_at(connection, item.camera_id, time)
    if in_force is None and item.facts.location is None:
        raise UnknownStatusError(
            f"camera {item.camera_id!r} has no status at {item.valid_from}, and nothing says where it stands:"
            " state its latitude and longitude"
        )
    wanted = _wanted_status(item, in_force)
    if in_force is not None and _document(wanted) == _document(in_force):
        return False
    wanted.status_id = status_identity(item.camera_id, [time, _document(wanted)])
    return db.transactions.write(lambda connection: imports.import_status(connection, wanted))


def _wanted_status(item: StatusItem, in_force: CameraStatus | None) -> CameraStatus:
    facts = item.facts
    status = CameraStatus(
        lens=facts.lens or _text("lens", facts, in_force) or _UNKNOWN,
        sensor=facts.sensor or _text("sensor", facts, in_force) or _UNKNOWN,
        inst_url=facts.inst_url or _text("inst_url", facts, in_force),
        inst_name=facts.inst_name or _text("inst_name", facts, in_force),
        orientation=facts.orientation or (in_force.orientation if in_force else Orientation()),
        location=facts.location or (in_force.location if in_force else Location()),
        camera_id=item.camera_id,
    )
    status.valid_from = item.valid_from
    status.regions = facts.regions if facts.regions is not None else in_force.regions if in_force else []
    return status


def _text(name: str, facts: StatusFacts, in_force: CameraStatus | None) -> str | None:
    """What the status in force says, since an administrator may have written it; else the default."""
    if in_force is None:
        return facts.defaults.get(name)
    value: str | None = getattr(in_force, name)
    return value


def _document(status: CameraStatus) -> object:
    """What the status says about the camera, without identity and times."""
    left_out = ("status_id", "valid_from", "valid_to", "software_version")
    return {name: value for name, value in status.as_dict().items() if name not in left_out}
