"""The page that shows a night."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase, NewFile
from meteorpi_model import CameraStatus, FileRecord, Location, Meta, NSString, Orientation
from meteorpi_server import MeteorApp
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.night_page.views import MOST_EVENTS
from meteorpi_server.settings import Settings

EVENING = datetime(2015, 4, 1, 21)
CAMERA = "<b>cam</b>"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[MeteorDatabase]:
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files") as made:
        status = CameraStatus("lens", "chip", None, None, Orientation(), Location(), CAMERA)
        made.update_camera_status(status, EVENING - timedelta(days=9), CAMERA)
        yield made


@pytest.fixture
def meteor_app(database: MeteorDatabase) -> MeteorApp:
    return make_meteor_app(database, Settings(routes=("query", "night"), url_path="/api"))


def get(meteor_app: MeteorApp, path: str) -> TestResponse:
    return meteor_app.app.test_client().get(path)


def add_file(database: MeteorDatabase, time: datetime, mime_type: str, content: bytes) -> FileRecord:
    new = NewFile(
        mime_type=mime_type, semantic_type=NSString("x"), file_time=time, camera_id=CAMERA, file_name="a&b"
    )
    return database.add_file(new, [content])


def jpeg() -> bytes:
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.new("RGB", (640, 480), (20, 30, 60)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.contract("issue-2.9")
def test_latest_night_shows_events_with_their_pictures(
    meteor_app: MeteorApp, database: MeteorDatabase
) -> None:
    text = add_file(database, EVENING, "text/plain", b"path")
    picture = add_file(database, EVENING, "image/jpeg", jpeg())
    database.register_event(
        CAMERA, EVENING, NSString("meteor"), [text, picture], [Meta(NSString("magnitude"), -2.5)]
    )
    add_file(database, EVENING - timedelta(days=3), "image/png", b"another night")

    page = get(meteor_app, "/api/night")

    assert page.status_code == 200
    assert "Night of 1 April 2015" in page.text
    assert "1 events and 2 files" in page.text
    assert "-2.5" in page.text
    assert picture.file_id is not None
    source = f"/api/files/thumbnail/{picture.file_id.hex}?width=320"
    assert f'src="{source}"' in page.text
    assert get(meteor_app, source).mimetype == "image/jpeg"
    assert get(meteor_app, "/api/night/style.css").mimetype == "text/css"


@pytest.mark.contract("issue-2.9")
def test_night_goes_from_noon_to_noon(meteor_app: MeteorApp, database: MeteorDatabase) -> None:
    for time in (
        "2015-04-01T11:59:59.999",
        "2015-04-01T12:00:00",
        "2015-04-02T11:59:59.999",
        "2015-04-02T12:00:00",
    ):
        add_file(database, datetime.fromisoformat(time), "image/png", time.encode())

    page = get(meteor_app, "/api/night/2015-04-01")

    assert "0 events and 2 files" in page.text
    assert page.text.count("<img") == 2
    assert 'href="/api/night/2015-03-31"' in page.text
    assert 'href="/api/night/2015-04-02"' in page.text


def test_what_cameras_say_cannot_become_part_of_the_page(
    meteor_app: MeteorApp, database: MeteorDatabase
) -> None:
    record = add_file(database, EVENING, "text/html", b"<script>")
    database.register_event(CAMERA, EVENING, NSString("<i>"), [record], [Meta(NSString("<u>"), "<script>")])

    page = get(meteor_app, "/api/night")

    assert not any(tag in page.text for tag in ("<b>", "<i>", "<u>", "<script>"))
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_long_night_is_cut_and_says_so(meteor_app: MeteorApp, database: MeteorDatabase) -> None:
    for second in range(MOST_EVENTS + 1):
        database.register_event(CAMERA, EVENING + timedelta(seconds=second), NSString("meteor"))

    page = get(meteor_app, "/api/night")

    assert page.text.count("no picture") == MOST_EVENTS
    assert f"of {MOST_EVENTS + 1} events are shown" in page.text


def test_empty_node_says_so(meteor_app: MeteorApp) -> None:
    page = get(meteor_app, "/api/night")

    assert page.status_code == 200
    assert "No night yet" in page.text


@pytest.mark.parametrize("date", ["yesterday", "2015-13-01", "0000-01-01", "0001-01-01", "9999-12-31"])
def test_date_that_is_none_is_not_found(meteor_app: MeteorApp, date: str) -> None:
    assert get(meteor_app, f"/api/night/{date}").status_code == 404


def test_bare_address_leads_to_the_night(meteor_app: MeteorApp) -> None:
    answer = get(meteor_app, "/api/")

    assert answer.status_code == 302
    assert answer.headers["Location"] == "/api/night"
