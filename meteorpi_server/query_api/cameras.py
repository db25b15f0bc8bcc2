"""Cameras and their status."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from meteorpi_model import CameraStatus
from meteorpi_model.errors import NotFoundError
from meteorpi_server import parsing
from meteorpi_server.context import current_database
from meteorpi_server.describing import describe
from meteorpi_server.listing import json_response
from meteorpi_server.query_api.routes import blueprint


@blueprint.get("/cameras")
@describe(reply={"cameras": {"type": "array", "items": {"type": "string"}}})
def list_cameras() -> ResponseReturnValue:
    """List the ids of every camera that has a status, in descending order."""
    return json_response({"cameras": current_database().get_cameras()})


@blueprint.get("/cameras/<path:camera_id>/status")
@describe(reply={"status": "camera_status"}, problems=[404])
def show_camera_status(camera_id: str) -> ResponseReturnValue:
    """Show the present status of a camera."""
    return _status_response(camera_id, None)


@blueprint.get("/cameras/<path:camera_id>/status/<milliseconds>")
@describe(reply={"status": "camera_status"}, problems=[400, 404])
def show_camera_status_at(camera_id: str, milliseconds: str) -> ResponseReturnValue:
    """Show the status that a camera had at a time, in milliseconds since 1970."""
    return _status_response(camera_id, milliseconds)


def _status_response(camera_id: str, milliseconds: str | None) -> ResponseReturnValue:
    time = None if milliseconds is None else parsing.path_time(milliseconds)
    status: CameraStatus | None = None
    for candidate in parsing.names_in_path(camera_id, "camera id"):
        status = status or current_database().get_camera_status(time=time, camera_id=candidate)
    if status is None:
        raise NotFoundError("this camera has no status then", entity_id=camera_id)
    return json_response({"status": status.as_dict()})
