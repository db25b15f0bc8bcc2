"""The content of files, and small copies of pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from meteorpi_db.filestore import ContentFacts
from meteorpi_db.filestore.verified import VerifiedReader
from meteorpi_model import FileRecord
from meteorpi_model.errors import CorruptContentError, InvalidDocumentError, NotFoundError
from meteorpi_server import parsing, thumbnails
from meteorpi_server.app import current_meteor_app
from meteorpi_server.content import CACHE_SECONDS, Chunks, Content, content_response
from meteorpi_server.context import current_database, current_settings, current_thumbnails
from meteorpi_server.describing import describe
from meteorpi_server.metrics import ABORTED
from meteorpi_server.query_api.routes import blueprint


@blueprint.get("/files/content/<file_id>")
@describe(content=True, problems=[400, 404, 416, 503])
def send_content(file_id: str) -> ResponseReturnValue:
    """Send the content of a file: whole, in ranges, or not at all when the caller has it already."""
    record = _record(file_id)
    found_id = parsing.hex_id(file_id)
    facts = _facts(found_id)
    store = current_database().store
    verifies = current_settings().verify_reads
    keeps_paths = "local-path" in store.capabilities and not verifies
    return content_response(
        Content(
            size=facts.size,
            content_type=record.mime_type,
            md5=facts.md5,
            sha256=facts.sha256,
            file_name=record.file_name,
            open=_verified_opener(found_id, facts) if verifies else partial(store.open, found_id),
            local_path=partial(store.local_path, found_id) if keeps_paths else None,
        )
    )


@blueprint.get("/files/content/<file_id>/<path:file_name>")
@describe(content=True, problems=[400, 404, 416, 503])
def send_named_content(file_id: str, file_name: str) -> ResponseReturnValue:
    """Send the content of a file; the name is there for browsers only and may be any."""
    return send_content(file_id)


@blueprint.get("/files/thumbnail/<file_id>")
@describe(
    content=True,
    parameters=[{"name": "width", "in": "query", "schema": {"type": "integer", "minimum": 1}}],
    problems=[400, 404, 501],
)
def send_thumbnail(file_id: str) -> ResponseReturnValue:
    """Send a small JPEG copy of a picture, at least `width` pixels wide unless the picture is smaller.

    Widths are rounded up to one of a few, so that few copies are kept.
    """
    record = _record(file_id)
    width = thumbnails.round_width(_width())
    etag = f"{record.md5}-{width}"
    response = Response(content_type="image/jpeg")
    response.set_etag(etag)
    if not request.if_none_match.contains_weak(etag):
        picture = current_thumbnails().thumbnail(parsing.hex_id(file_id), record.md5 or "", width)
        response.set_data(picture)
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    return response.make_conditional(request)


def _facts(file_id: UUID) -> ContentFacts:
    """Size and digests as recorded, when the store has the content as it should be."""
    db = current_database()
    stored = db.store.stat(file_id)
    if stored is None:
        raise NotFoundError("the content of this file is not here", entity_id=file_id)
    facts = db.content_facts(file_id)
    if stored.size != facts.size:
        raise CorruptContentError("the content of this file is damaged", entity_id=file_id)
    return facts


def _verified_opener(file_id: UUID, facts: ContentFacts) -> Callable[[int, int], Chunks]:
    """Opens the content; as a whole in such a way that damage is noticed before its end (S-141)."""
    db, metrics = current_database(), current_meteor_app().metrics

    def note_damage(is_begun: bool) -> None:
        if is_begun:  # else it is refused, and counted as that
            metrics.count_corrupt_read(ABORTED)
        db.mark_corrupt(file_id)

    def open_(start: int, stop: int) -> Chunks:
        chunks = db.store.open(file_id, start, stop)
        is_whole = start == 0 and stop == facts.size
        return VerifiedReader(chunks, facts.sha256, note_damage).start() if is_whole else chunks

    return open_


def _width() -> int:
    text = request.args.get("width", str(thumbnails.DEFAULT_WIDTH))
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and int(text) > 0):
        raise InvalidDocumentError("width must be a whole number of pixels", pointer="/width")
    return int(text)


def _record(file_id: str) -> FileRecord:
    found_id: UUID = parsing.hex_id(file_id, "file id")
    record = current_database().get_file(found_id)
    if record is None:
        raise NotFoundError("no such file", entity_id=found_id)
    return record
