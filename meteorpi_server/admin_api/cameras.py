"""What an administrator may edit of a camera's status."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from meteorpi_model.documents import as_text, read, read_optional
from meteorpi_model.errors import NotFoundError
from meteorpi_model.status import as_regions
from meteorpi_server import parsing
from meteorpi_server.admin_api.routes import ADMIN, blueprint
from meteorpi_server.auth import record_audit, requires_auth
from meteorpi_server.context import current_database
from meteorpi_server.describing import describe


@blueprint.post("/cameras/<path:camera_id>/status")
@requires_auth(ADMIN)
@describe(
    body={"inst_name": {"type": "string"}, "inst_url": {"type": "string"}, "regions": {"type": "array"}},
    reply={"status": "camera_status"},
    problems=[400, 404],
)
def save_camera_status(camera_id: str) -> ResponseReturnValue:
    """Give a camera a new status from now on: name, address and regions changed, the rest as it was."""
    db = current_database()
    names = parsing.names_in_path(camera_id, "camera id")
    found = next((name for name in names if db.get_camera_status(camera_id=name) is not None), names[0])
    status = db.get_camera_status(camera_id=found)
    if status is None:
        raise NotFoundError("this camera has no status", entity_id=found)
    body = parsing.json_body()
    status.inst_name = read_optional(body, "inst_name", as_text)
    status.inst_url = read_optional(body, "inst_url", as_text)
    status.regions = read(body, "regions", as_regions)
    db.update_camera_status(status, camera_id=found)
    record_audit("camera.status", found, f"name={status.inst_name} url={status.inst_url}")
    stored = db.get_camera_status(camera_id=found)
    return {"status": None if stored is None else stored.as_dict()}
