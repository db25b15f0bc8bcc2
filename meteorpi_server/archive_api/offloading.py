"""Contents that somebody else sends: the kernel, or the web server in front.

The operator says so, whoever is asked to has to say that it can, and authorisation and limits are looked at
before. What is sent so passes nobody who would check it; so it is left only where the content was read and
found right not long ago, and where no rate has to be kept.

Source:
    Section 3.18 of the archive contract.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

from flask import request
from werkzeug.wrappers import Response

from meteorpi_db.filestore.base import ContentReader
from meteorpi_server.archive_api.service import ArchiveService
from meteorpi_server.archive_api.slots import Slot
from meteorpi_server.archiving import Form, Plan
from meteorpi_server.fronting import any_offload_header, offers

SENDFILE: Final = "sendfile"
X_ACCEL: Final = "x-accel"
MOD_ZIP: Final = "mod_zip"

_BLOCK_BYTES: Final = 1 << 18


def is_wanted(service: ArchiveService, way: str, file_ids: Iterable[UUID]) -> bool:
    """Whether these contents are to be sent in that way by somebody else, as far as we are asked."""
    settings = service.settings
    if settings.archive_offload != way or service.rates.are_set:
        return False
    if "local-path" not in service.db.store.capabilities:
        return False
    since = service.db.clock() - timedelta(days=settings.archive_verify_interval)
    return service.db.are_sound_since(file_ids, since)


def header_for(service: ArchiveService) -> Callable[[Path], tuple[str, str] | None]:
    """What has the web server in front of the current request send the file at a path."""
    return partial(_header, service.settings.archive_offload_prefix)


def _header(prefix: str, path: Path) -> tuple[str, str] | None:
    return any_offload_header(request.environ, path, prefix)


def local_path_of(service: ArchiveService, file_id: UUID) -> Callable[[], AbstractContextManager[Path]]:
    """Gives the path of a content of the node."""
    return partial(service.db.store.local_path, file_id)


# --- the kernel ----------------------------------------------------------------------------------------


class LentFile(io.FileIO):
    """A file that the server of a request sends, and closes when it has.

    Args:
        descriptor: of it, at the first byte to send; taken over.
        ended: told how many bytes were sent, or read, when it is closed; once.
    """

    def __init__(self, descriptor: int, ended: Callable[[int], None]) -> None:
        super().__init__(descriptor, "rb")
        self._start = self.tell()
        self._ended = ended

    def close(self) -> None:
        """Tell how far it was read, and give the descriptor back; harmless when repeated."""
        if self.closed:
            return
        sent = self.tell() - self._start
        super().close()
        self._ended(sent)


def lend_file(service: ArchiveService, response: Response, slot: Slot, note: Callable[[str], None]) -> bool:
    """Have the kernel copy the body of `response` to its reader, where the server of the request offers that.

    Args:
        service: of the route.
        response: with a body that is read from a file to its end; it is replaced.
        slot: ended when the file was sent, or given up.
        note: told how that came out.

    Returns:
        Whether it is done so; if not, nothing has changed.
    """
    wrapper, reader = request.environ.get("wsgi.file_wrapper"), response.response
    descriptor = reader.descriptor if isinstance(reader, ContentReader) else None
    if wrapper is None or descriptor is None or not _goes_to_the_end(descriptor, response):
        return False
    slot.claim.reader.drop_after(service.settings.archive_send_timeout)
    expected = response.content_length

    def ended(sent: int) -> None:
        slot.sent_bytes = sent
        slot.end()
        note(slot.stop_reason or ("complete" if sent == expected else "aborted"))

    lent = LentFile(os.dup(descriptor), ended)
    reader.close()  # type: ignore[union-attr]  # it has a descriptor, so it is one of ours
    response.response = wrapper(lent, _BLOCK_BYTES)
    response.direct_passthrough = True  # else the server would not know what it was given
    return True


def _goes_to_the_end(descriptor: int, response: Response) -> bool:
    """Not all servers stop at the length that was promised, though they should."""
    left = os.fstat(descriptor).st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
    return left == response.content_length


# --- nginx with mod_zip --------------------------------------------------------------------------------


def is_for_mod_zip(service: ArchiveService, plan: Plan) -> bool:
    """Whether nginx is to put the archive of `plan` together.

    It cannot with anything but whole stored contents of the node's own file store: mod_zip knows no other
    forms, and what stands in the plan alone has no address.
    """
    if service.settings.archive_offload != MOD_ZIP or not offers(request.environ, MOD_ZIP):
        return False
    if not plan.is_resumable or plan.comment or not plan.entries:
        return False
    if any(entry.kind != "record" or entry.form is not Form.STORED for entry in plan.entries):
        return False
    return is_wanted(service, MOD_ZIP, {UUID(entry.reference) for entry in plan.entries})


def mod_zip_list(service: ArchiveService, plan: Plan) -> bytes:
    """What mod_zip puts an archive together from: a line for each entry, in order.

    Raises:
        NotFoundError: a content is gone.
    """
    lines = []
    for entry in plan.entries:
        with service.db.store.local_path(UUID(entry.reference)) as path:
            location = quote(service.settings.archive_offload_prefix + str(path))
        lines.append(f"{entry.crc:08x} {entry.size} {location} {entry.name}\r\n")
    return "".join(lines).encode()
