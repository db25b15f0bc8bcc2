"""One task's conversation with a peer, from the entity in full to a final answer.

The receiver leads: each of its answers names the next request. What keeps that from going on for ever is
that nothing is delivered twice (B-28) and that the number of requests has a bound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from meteorpi_db.exporting.peer import Content, Peer, Reply
from meteorpi_db.exporting.tasks import ExportTask, FileExportTask
from meteorpi_model.errors import MeteorError, NotFoundError, PeerRefusedError, WorkStoppedError
from meteorpi_model.records import Event, FileRecord
from meteorpi_model.values import JsonObject

if TYPE_CHECKING:
    from meteorpi_db.database import MeteorDatabase

logger = logging.getLogger("meteorpi.db.export")

NOT_STARTED: Final = "not_started"
PARTIAL: Final = "partial"
COMPLETE: Final = "complete"
FAILED: Final = "failed"
CONFUSED: Final = "confused"

_CONTINUE: Final = "continue"
_CONTINUE_WITHOUT_CACHE: Final = "continue-nocache"
_NEED_STATUS: Final = "need_status"
_NEED_FILE_DATA: Final = "need_file_data"
_SPARE_REQUESTS: Final = 16


class ExportStateCache:
    """How far the push of one entity has come.

    Attributes:
        state: ``'not_started'`` and ``'partial'`` on the way, ``'complete'``, ``'failed'`` or ``'confused'``
            at the end.
        config_id: the configuration the task belongs to.
        entity_id: hex id of the event or file.
        entity_dict: the request that announces the entity in full; empty when the entity is gone.
        use_cache: whether the next request may name the entity instead of sending it in full.
        export_task: the task, None once finished.
        concurrency: how many entities the peer takes at the same time, by its last answer.
        reason: why the state is ``'failed'`` or ``'confused'``, or a note; for people.
    """

    def __init__(self, export_task: ExportTask) -> None:
        self.state = NOT_STARTED
        self.config_id: UUID = export_task.config_id
        self.entity_id: str = export_task.get_entity_id().hex
        self.entity_dict: JsonObject = {}
        self.use_cache = False
        self.export_task: ExportTask | None = export_task
        self.reason: str | None = None
        self.concurrency = 1

    @property
    def is_finished(self) -> bool:
        """Whether `state` is a final one."""
        return self.state in {COMPLETE, FAILED, CONFUSED}

    def finish(self, state: str, reason: str | None = None) -> None:
        """Set the final `state`."""
        self.state = state
        self.reason = reason
        self.export_task = None

    def __repr__(self) -> str:
        return f"ExportStateCache({self.entity_id}, state={self.state!r}, reason={self.reason!r})"


class Conversation:
    """Drives one task to its end.

    Args:
        db: where the entity, its statuses and its content are.
        task: what to send.
        peer: where to.
        check: called before every request and every piece of an upload; raises to stop the work.
    """

    def __init__(self, db: MeteorDatabase, task: ExportTask, peer: Peer, check: Callable[[], None]) -> None:
        self._db = db
        self._task = task
        self._peer = peer
        self._check = check
        self._progress = ExportStateCache(task)
        self._delivered: set[UUID] = set()

    def run(self) -> ExportStateCache:
        """Talk until the peer has the entity, or says or shows that it will not take it.

        Every error of this task ends up in the result, but one.

        Raises:
            WorkStoppedError: `check` said so; the task stays as it is.
        """
        try:
            entity = self._entity()
            if entity is None:
                self._complete("the entity no longer exists here")
            else:
                self._push(entity)
        except WorkStoppedError:
            raise
        except MeteorError as error:
            self._fail(error.detail)
        return self._progress

    def _entity(self) -> FileRecord | Event | None:
        """What is to be sent, None when it was deleted after it had been marked (B-55)."""
        try:
            return self._task.get_file() if isinstance(self._task, FileExportTask) else self._task.get_event()
        except NotFoundError:
            return None

    def _push(self, entity: FileRecord | Event) -> None:
        self._progress.entity_dict = _announcement(entity)
        self._progress.state = PARTIAL
        for _ in range(_most_requests(entity)):
            self._react(self._send_entity())
            if self._progress.is_finished:
                return
        self._fail("the peer keeps asking to continue")

    def _send_entity(self) -> Reply:
        self._check()
        if self._progress.use_cache:
            return self._peer.send_document(
                {"type": "cached_entity", "cached_entity_id": self._progress.entity_id}
            )
        return self._peer.send_document(self._progress.entity_dict)

    def _react(self, reply: Reply) -> None:
        self._progress.concurrency = reply.concurrency
        if reply.state == COMPLETE:
            self._complete()
        elif reply.state == _NEED_STATUS and reply.status_id is not None:
            self._deliver(reply.status_id, self._send_status)
        elif reply.state == _NEED_FILE_DATA and reply.file_id is not None:
            self._deliver(reply.file_id, self._send_file_data)
        elif reply.state == _CONTINUE:
            self._progress.use_cache = True
        elif reply.state == _CONTINUE_WITHOUT_CACHE:
            self._progress.use_cache = False
        elif reply.state == FAILED:
            self._fail(reply.message or "the peer refused without a reason")
        else:
            self._progress.finish(CONFUSED, reply.message or f"unknown answer {reply.state!r}")

    def _deliver(self, item_id: UUID, send: Callable[[UUID], Reply]) -> None:
        """Send what was asked for, once; the next request then names the entity again."""
        if item_id in self._delivered:
            raise PeerRefusedError(self._refusal_of(item_id))
        self._delivered.add(item_id)
        self._check()
        reply = send(item_id)
        if reply.state == FAILED:
            self._fail(reply.message or f"the peer refused {item_id.hex} without a reason")
        elif reply.state in {_CONTINUE, COMPLETE, _CONTINUE_WITHOUT_CACHE}:
            # Complete can only mean the item: whether the entity is, the next answer says.
            self._progress.use_cache = reply.state != _CONTINUE_WITHOUT_CACHE
            self._progress.reason = reply.message
        else:
            self._progress.finish(CONFUSED, reply.message or f"unknown answer {reply.state!r} to an upload")

    def _refusal_of(self, item_id: UUID) -> str:
        said = f": {self._progress.reason}" if self._progress.reason else ""
        return f"the peer asks again for {item_id.hex}, which was just delivered{said}"

    def _send_status(self, status_id: UUID) -> Reply:
        status = self._db.get_camera_status_by_id(status_id)
        if status is None:
            raise PeerRefusedError(f"the peer asks for the unknown camera status {status_id.hex}")
        return self._peer.send_document({"type": "status", "status": status.as_dict()})

    def _send_file_data(self, file_id: UUID) -> Reply:
        record = self._db.get_file(file_id)
        if record is None or record.md5 is None:
            raise PeerRefusedError(f"the peer asks for the unknown file {file_id.hex}")
        content = Content(
            file_id=file_id,
            md5=record.md5,
            mime_type=record.mime_type,
            size_bytes=record.file_size,
            open=lambda: self._db.open_content(file_id),
        )
        reply = self._peer.send_content(content, self._check)
        logger.info(
            "file pushed config_id=%s file_id=%s size_bytes=%d",
            self._task.config_id.hex,
            file_id.hex,
            record.file_size,
        )
        return reply

    def _complete(self, note: str | None = None) -> None:
        self._task.set_status(0)
        self._progress.finish(COMPLETE, note)

    def _fail(self, reason: str) -> None:
        self._progress.finish(FAILED, reason)


def _announcement(entity: FileRecord | Event) -> JsonObject:
    if isinstance(entity, Event):
        return {"type": "event", "event": entity.as_dict()}
    return {"type": "file", "file": entity.as_dict()}


def _most_requests(entity: FileRecord | Event) -> int:
    """A number of answers that no receiver needs: each file with a status of its own, and some to spare."""
    files = len(entity.file_records) if isinstance(entity, Event) else 1
    return 2 * (files + 1) + _SPARE_REQUESTS
