"""``meteorpi download``, and the connection to other nodes for the commands that can use one."""

from __future__ import annotations

import mimetypes
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from meteorpi_client import MeteorClient
from meteorpi_model import FileRecord, FileRecordSearch, get_md5_hash
from meteorpi_model.errors import CorruptContentError, DigestMismatchError, NotFoundError
from meteorpi_server.cli.archive_files import tell as tell_archive
from meteorpi_server.cli.output import Output, Row, json_option, progress, size_text
from meteorpi_server.cli.selecting import file_search, file_search_options

_UNSAFE = re.compile(r"[^\w.+-]+")
_NAME_CHARACTERS = 80


@contextmanager
def open_node(url: str, ca_file: str | None = None) -> Iterator[MeteorClient]:
    """A client of the node at `url`; `ca_file` names the certificate authorities to trust."""
    with MeteorClient(url, verify=ca_file or True) as client:
        yield client


@click.command()
@click.argument("node_url", metavar="URL")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go, if not here.",
)
@click.option(
    "--zip",
    "archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Fetch them as one archive, to this file.",
)
@click.option("--ca-file", metavar="FILE", help="Trust the certificate authorities in FILE instead.")
@json_option
@file_search_options
def download(
    node_url: str,
    folder: Path | None,
    archive: Path | None,
    ca_file: str | None,
    output: Output,
    **options: Any,
) -> int:
    """Download the files that match from the node at URL.

    Each goes to CAMERA/TIME_ID_NAME below the folder, is checked, and gets its name only when it is whole.
    What is there already is left as it is; what was cut off goes on where it was, so the command may be
    repeated. With --zip the node, which has to offer archives, sends all of them as one; ends with 1 when the
    archive is not as its manifest says.
    """
    if archive is not None and folder is not None:
        raise click.UsageError("--zip takes the place of --to")
    with open_node(node_url, ca_file) as client:
        if archive is not None:
            return _fetch_archive(client, file_search(**options), archive, output)
        return _fetch_files(client, file_search(**options), folder or Path(), output)


def _fetch_archive(client: MeteorClient, search: FileRecordSearch, goal: Path, output: Output) -> int:
    with progress(goal.name, in_bytes=True) as advance:
        fetched = client.archives.download_files(search, goal, advance)
    return tell_archive(output, goal, fetched.report)


def _fetch_files(client: MeteorClient, search: FileRecordSearch, folder: Path, output: Output) -> int:
    outcomes: Counter[str] = Counter()
    size_bytes = 0
    for record in client.iterate_files(search):
        outcome, path, reason = _fetch(client, record, folder)
        outcomes[outcome] += 1
        size_bytes += record.file_size if outcome == "downloaded" else 0
        _tell(output, {"file_id": record.file_id, "state": outcome, "path": path, "reason": reason})
    output.say(
        f"{outcomes['downloaded']} files downloaded, {size_text(size_bytes)}; "
        f"{outcomes['present']} were here already, {outcomes['failed']} failed"
    )
    return 1 if outcomes["failed"] else 0


def _fetch(client: MeteorClient, record: FileRecord, folder: Path) -> tuple[str, Path, str | None]:
    """Download one file and say what became of it, where it is, and why it failed."""
    path = folder / goal_of(record)
    if record.md5 and path.is_file() and get_md5_hash(path) == record.md5:
        return "present", path, None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with progress(path.name, in_bytes=True) as advance:
            client.download(record, path, advance)
    except (NotFoundError, DigestMismatchError, CorruptContentError) as error:
        return "failed", path, error.detail  # this file only; the others may be well
    return "downloaded", path, None


def goal_of(record: FileRecord) -> Path:
    """Where a file goes below the folder: unique, sorted by time, and harmless whatever the node says."""
    camera = _harmless(record.camera_id) or "camera"
    time = record.file_time.strftime("%Y%m%d_%H%M%S") if record.file_time else "undated"
    file_id = record.file_id.hex[:8] if record.file_id else ""
    name = _harmless(record.file_name or "") or f"file{mimetypes.guess_extension(record.mime_type) or ''}"
    return Path(camera) / f"{time}_{file_id}_{name}"


def _harmless(name: str) -> str:
    return _UNSAFE.sub("_", name)[-_NAME_CHARACTERS:].strip("._")


def _tell(output: Output, row: Row) -> None:
    if output.as_json:
        output.rows([row], ())
    elif row["state"] == "failed":
        output.warn(f"{row['path']}: {row['reason']}")
    else:
        output.say(f"{row['path']}")
