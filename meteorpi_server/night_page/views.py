"""The latest night as one page without scripts: events with their pictures, and other pictures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import Blueprint, Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from meteorpi_db import MeteorDatabase
from meteorpi_model import Event, EventSearch, FileRecord, FileRecordSearch, get_day_and_offset
from meteorpi_server.app import MeteorApp
from meteorpi_server.context import current_database

MOST_EVENTS: Final = 60
MOST_PICTURES: Final = 24
PICTURE_TYPES: Final = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/fits"}
)
YEARS: Final = range(1900, 3000)
POLICY: Final = (
    "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_DAY = timedelta(days=1)

blueprint = Blueprint("night", __name__, template_folder="templates")


def add_routes(meteor_app: MeteorApp, url_path: str = "") -> None:
    """Attach the page to `meteor_app`, below `url_path`; the query routes have to be at the same path."""
    meteor_app.attach(blueprint, url_path, version=1)


@blueprint.get("/")
def show_start() -> ResponseReturnValue:
    """Lead a visitor of the bare address to the latest night."""
    return redirect(url_for(".show_latest_night"))


@blueprint.get("/night")
def show_latest_night() -> ResponseReturnValue:
    """Show the latest night of which there is anything."""
    latest = latest_time(current_database())
    return _page(latest and get_day_and_offset(latest)["previous_noon"])


@blueprint.get("/night/<date>")
def show_night(date: str) -> ResponseReturnValue:
    """Show the night that begins at noon UTC of `date`, such as 2015-04-01."""
    return _page(noon_of(date))


def noon_of(date: str) -> datetime:
    """Noon of a date; `NotFound` for what is none, and for years in which nobody recorded anything."""
    try:
        midnight = datetime.strptime(date, "%Y-%m-%d")  # noqa: DTZ007 - naive UTC throughout
    except ValueError as error:
        raise NotFound("there is no such night") from error
    if midnight.year not in YEARS:
        raise NotFound("there is no such night")
    return midnight + _DAY / 2


@blueprint.get("/night/style.css")
def send_night_style() -> ResponseReturnValue:
    """Send the style sheet of the page."""
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(render_template("meteorpi_night.css"), content_type="text/css", headers=headers)


@dataclass(frozen=True)
class Night:
    """What one night brought.

    Attributes:
        noon: its beginning, UTC; it ends a day later.
        event_count, file_count: all that there are.
        events, pictures: the first of them, in order of time; pictures belong to no event.
    """

    noon: datetime
    event_count: int
    file_count: int
    events: list[Event]
    pictures: list[FileRecord]


def latest_time(db: MeteorDatabase) -> datetime | None:
    """When the newest event was, or else when the newest file was made; None when the node is empty."""
    events = db.search_events(EventSearch(limit=1))["events"]
    if events:
        return events[0].event_time
    files = db.search_files(FileRecordSearch(limit=1))["files"]
    return files[0].file_time if files else None


def night_of(db: MeteorDatabase, noon: datetime) -> Night:
    """The night after `noon`."""
    start, end = noon - timedelta(milliseconds=1), noon + _DAY
    events = db.search_events(EventSearch(after=start, before=end, limit=MOST_EVENTS))
    files = db.search_files(FileRecordSearch(after=start, before=end, limit=1))
    loose = db.search_files(
        FileRecordSearch(after=start, before=end, exclude_events=True, limit=10 * MOST_PICTURES)
    )
    pictures = [record for record in loose["files"] if is_picture(record)][:MOST_PICTURES]
    return Night(noon, events["count"], files["count"], events["events"][::-1], pictures[::-1])


def is_picture(record: FileRecord) -> bool:
    """Whether a browser can be shown a small copy of the file."""
    return record.mime_type in PICTURE_TYPES


def picture_of(event: Event) -> FileRecord | None:
    """The first picture of an event."""
    return next((record for record in event.file_records if is_picture(record)), None)


def _page(noon: datetime | None) -> Response:
    night = None if noon is None else night_of(current_database(), noon)
    page = render_template("meteorpi_night.html", night=night, picture_of=picture_of, one_day=_DAY)
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return Response(page, content_type="text/html; charset=utf-8", headers=headers)
