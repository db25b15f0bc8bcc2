"""A node with every route set attached, its accounts, and ways to talk to it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts import passwords
from meteorpi_model import CameraStatus, FileRecord, Location, Meta, NSString, Orientation
from meteorpi_server import MeteorApp, MeteorServer
from meteorpi_server.settings import Settings

CAMERA = "aabbccddeeff"
START = datetime(2015, 4, 1)
PASSWORD = "sesame open"

ROLES = {
    "admin": ["user", "camera_admin"],
    "only-admin": ["camera_admin"],
    "visitor": ["user"],
    "station": ["import"],
    "nobody": [],
    "disabled": ["user", "camera_admin", "import"],
}


def basic(user_id: str, password: str = PASSWORD) -> dict[str, str]:
    """Headers with HTTP Basic credentials."""
    encoded = base64.b64encode(f"{user_id}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def bearer(secret: str) -> dict[str, str]:
    """Headers with a token."""
    return {"Authorization": f"Bearer {secret}"}


@dataclass
class Node:
    """A node under test.

    Attributes:
        db: its database.
        meteor_app: its application.
        http: a client of the application, without a socket between.
        directory: for files of the test.
    """

    db: MeteorDatabase
    meteor_app: MeteorApp
    directory: Path
    http: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.meteor_app.app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET as nobody in particular."""
        return self.http.get(path, buffered=True, **options)

    def as_admin(self, method: str, path: str, json: object = None, **options: Any) -> TestResponse:
        """A request of the administrator."""
        return self.http.open(path, method=method, json=json, headers=basic("admin"), **options)

    def add_accounts(self) -> None:
        """Make the accounts of `ROLES`."""
        for user_id, roles in ROLES.items():
            self.db.create_or_update_user(user_id, PASSWORD, roles)
        self.db.set_user_enabled("disabled", False)

    def add_status(self, camera_id: str = CAMERA, time: datetime = START) -> None:
        """Give a camera a status from `time` on."""
        status = CameraStatus(
            "a_lens",
            "a_sensor",
            "http://example.org",
            "an_inst",
            Orientation(),
            Location(52.0, 1.0),
            camera_id,
        )
        status.add_region([0, 0, 100, 0, 0, 100])
        self.db.update_camera_status(status, time=time, camera_id=camera_id)

    def add_file(
        self,
        content: bytes = b"hello meteor",
        *,
        time: datetime = datetime(2015, 4, 1, 1),
        mime_type: str = "text/plain",
        file_name: str | None = None,
        metas: tuple[Meta, ...] = (),
        camera_id: str = CAMERA,
    ) -> FileRecord:
        """Register a file."""
        source = self.directory / "source"
        source.write_bytes(content)
        return self.db.register_file(
            source, mime_type, NSString("test_file"), time, list(metas), camera_id, file_name
        )


def id_of(record: FileRecord) -> UUID:
    """The id that a registered file has."""
    assert record.file_id is not None
    return record.file_id


@pytest.fixture(autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Password hashes that take no time; what is hashed how is tested with the database."""
    kept = passwords.SCRYPT_LOG2_N
    passwords.SCRYPT_LOG2_N = 1
    yield
    passwords.SCRYPT_LOG2_N = kept


@pytest.fixture
def make_node(db: MeteorDatabase, tmp_path: Path) -> Callable[..., Node]:
    """Call it for a node with other settings on the test's database."""

    def make(**settings: Any) -> Node:
        meteor_app = MeteorApp(db=db, settings=Settings(**settings))
        MeteorServer.add_all_routes(meteor_app)
        return Node(db, meteor_app, tmp_path)

    return make


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    """A node with every route set, accounts, and one camera."""
    made = make_node()
    made.add_accounts()
    made.add_status()
    return made
