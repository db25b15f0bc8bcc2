"""What Prometheus collects: records held, exports waiting, room on disk, requests answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flask import Response
from flask.typing import ResponseReturnValue

from meteorpi_db import MeteorDatabase
from meteorpi_db.ingest.base import IngestOptions
from meteorpi_db.ingest.runner import quarantine_path
from meteorpi_model import now, utc_datetime_to_milliseconds
from meteorpi_server.app import MeteorApp, current_meteor_app
from meteorpi_server.describing import describe
from meteorpi_server.exposition import CONTENT_TYPE, family
from meteorpi_server.metrics import BUCKET_SECONDS, RequestFigures, Sample
from meteorpi_server.node_api.routes import blueprint
from meteorpi_server.versions import software_version

COUNT_SECONDS: Final = 60
"""Records are counted at most this often, in seconds: counting a million takes a while."""

_BYTES: Final = "bytes"


@blueprint.get("/metrics")
@describe(media_type="text/plain")
def show_metrics() -> ResponseReturnValue:
    """Show counts and times in the text format of Prometheus."""
    meteor_app = current_meteor_app()
    requests = _request_lines(meteor_app.metrics.figures())
    lines = [*_build_lines(), *_clock_lines(), *_database_lines(meteor_app), *requests]
    lines += [line for collect in meteor_app.collectors for each in collect() for line in family(*each)]
    return Response("\n".join(lines) + "\n", content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


def _build_lines() -> Iterator[str]:
    labels = {"version": software_version()}
    yield from family("meteorpi_build_info", "gauge", "Version of the software.", [(labels, 1)])


def _database_lines(meteor_app: MeteorApp) -> Iterator[str]:
    db = meteor_app.db
    counts = meteor_app.memo.get("entities", COUNT_SECONDS, db.count_entities)
    samples: list[Sample] = [
        ({"kind": kind}, count) for kind, count in sorted(counts.items()) if kind != _BYTES
    ]
    yield from family("meteorpi_entities", "gauge", "Records held, by kind.", samples)
    size: list[Sample] = [({}, counts[_BYTES])]
    yield from family("meteorpi_content_bytes", "gauge", "Size of the content of all files.", size)
    free = db.store.free_bytes()
    if free is not None:
        yield from family("meteorpi_store_free_bytes", "gauge", "Room left in the file store.", [({}, free)])
    yield from _camera_lines(meteor_app)
    yield from _backup_lines(meteor_app)
    yield from _export_lines(db)


def _backup_lines(meteor_app: MeteorApp) -> Iterator[str]:
    time = meteor_app.memo.get("last backup", COUNT_SECONDS, meteor_app.db.get_last_backup_time)
    samples: list[Sample] = [] if time is None else [({}, utc_datetime_to_milliseconds(time) / 1000)]
    help_text = "When the last backup was made that lacks nothing, in seconds since 1970."
    yield from family("meteorpi_last_backup_time_seconds", "gauge", help_text, samples)


def _clock_lines() -> Iterator[str]:
    # Prometheus notes when it asked, so the difference of the two is how wrong the clock of the node is.
    seconds = utc_datetime_to_milliseconds(now()) / 1000
    yield from family("meteorpi_time_seconds", "gauge", "Clock of the node, Unix time.", [({}, seconds)])


def _camera_lines(meteor_app: MeteorApp) -> Iterator[str]:
    newest = meteor_app.memo.get("newest", COUNT_SECONDS, meteor_app.db.get_newest_file_times)
    yield from family(
        "meteorpi_newest_file_timestamp_seconds",
        "gauge",
        "Time of the newest file of a camera, Unix time.",
        [
            ({"camera": camera}, utc_datetime_to_milliseconds(time) / 1000)
            for camera, time in sorted(newest.items())
        ],
    )
    quarantine = quarantine_path(meteor_app.db, IngestOptions())
    found = sum(1 for path in quarantine.glob("[!.]*") if path.suffix != ".json")
    help_text = "Damaged files in the quarantine beside the file store."
    yield from family("meteorpi_quarantined_files", "gauge", help_text, [({}, found)])


def _export_lines(db: MeteorDatabase) -> Iterator[str]:
    states = [({"config": state.config_id.hex}, state) for state in db.get_export_states()]
    yield from family(
        "meteorpi_export_pending",
        "gauge",
        "Export tasks that are not done.",
        [(labels, state.pending) for labels, state in states],
    )
    yield from family(
        "meteorpi_export_failures",
        "gauge",
        "Consecutive failures of an export configuration.",
        [(labels, state.failures) for labels, state in states],
    )
    yield from family(
        "meteorpi_export_suspended",
        "gauge",
        "1 while the exporter has suspended a configuration.",
        [(labels, int(state.suspended)) for labels, state in states],
    )
    yield from family(
        "meteorpi_export_last_success_timestamp_seconds",
        "gauge",
        "When something was delivered last, Unix time; absent for never.",
        [
            (labels, utc_datetime_to_milliseconds(state.last_success_at) / 1000)
            for labels, state in states
            if state.last_success_at is not None
        ],
    )


def _request_lines(figures: RequestFigures) -> Iterator[str]:
    answered: list[Sample] = [
        ({"method": method, "status": str(status)}, count)
        for (method, status), count in sorted(figures.answered.items())
    ]
    yield from family("meteorpi_requests_total", "counter", "Requests answered by this process.", answered)
    yield from family(
        "meteorpi_requests_in_flight",
        "gauge",
        "Requests being worked on by this process.",
        [({}, figures.in_flight)],
    )
    yield from family(
        "meteorpi_corrupt_reads_total",
        "counter",
        "Damaged contents that this process was asked for.",
        [({"outcome": outcome}, count) for outcome, count in sorted(figures.corrupt_reads.items())],
    )
    name = "meteorpi_request_seconds"
    yield f"# HELP {name} Time until the answer began."
    yield f"# TYPE {name} histogram"
    for bound, count in zip([*map(str, BUCKET_SECONDS), "+Inf"], figures.bucket_counts, strict=True):
        yield f'{name}_bucket{{le="{bound}"}} {count}'
    yield f"{name}_sum {figures.seconds:.17g}"
    yield f"{name}_count {figures.bucket_counts[-1]}"
