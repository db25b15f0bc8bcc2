"""Processes that die of SIGKILL at one moment after the other of a request.

Run as ``python -m tests.blocks.killed DB_PATH STORE DETAIL``. It reads the name of a task and serves its
request with one forked process after the other, each of which is killed a moment later than the one before:
``AT killed``. The last is not: ``AT answered``.

A moment is before each commit, and when it took effect; with the detail ``requests`` also before each request
to a service that keeps contents, with ``steps`` before each step on a disk and each statement that changes
something. Between two of them nothing that lasts is done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any, Final

from flask.testing import FlaskClient
from sqlalchemy import event as engine_event

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks import register
from meteorpi_db.filestore import Disk
from meteorpi_db.filestore.s3.bucket import Bucket
from meteorpi_db.testing.servers import PASSWORD, USER
from tests.blocks.hammering import OWNER, application
from tests.blocks.making import PREFIX, StoredBlocks
from tests.blocks.signed_in import add_users
from tests.db.workers import REPOSITORY, next_line, say, tell, wait_for_word

OLD: Final = b"what was there before" * 500
NEW: Final = b"what comes instead" * 700
DETAILS: Final[dict[str, tuple[type, tuple[str, ...]]]] = {
    "commits": (object, ()),
    "requests": (Bucket, ("put", "delete", "head")),
    "steps": (Disk, ("create", "write", "flush", "flush_directory", "link", "rename", "unlink")),
}
LIBRARIES: Final = {
    "fdb": "meteorpi_db.dialects.firebird",
    "psycopg": "psycopg",
}
"""Drivers that may be missing, and what to import where they are there."""


class Moments:
    """Counts the moments of this process, and kills it at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at + 1
        self._lock = threading.Lock()

    def reach(self, *_arguments: object, **_options: object) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def before(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step` after a moment."""

        def late(*arguments: Any, **options: Any) -> Any:
            self.reach()
            return step(*arguments, **options)

        return late

    def after(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step` before a moment."""

        def early(*arguments: Any, **options: Any) -> Any:
            result = step(*arguments, **options)
            self.reach()
            return result

        return early

    def watch(self, db: MeteorDatabase, detail: str) -> None:
        """Begin to count."""
        engine_event.listen(db.con, "commit", self.reach)
        db.transactions.write = self.after(db.transactions.write)  # type: ignore[method-assign]
        if detail == "steps":
            engine_event.listen(db.con, "before_cursor_execute", self._execute)
        kind, names = DETAILS[detail]
        for name in names:
            setattr(kind, name, self.before(getattr(kind, name)))

    def _execute(self, _connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith(("SELECT", "PRAGMA")):
            self.reach()


def ask(client: FlaskClient, method: str, path: str, content: bytes = b"") -> int:
    """The status of the answer to a request of the owner."""
    url = f"/api/v0/files/{PREFIX}/{path}"
    return client.open(url, method=method, data=content, headers=OWNER, buffered=True).status_code


def request(client: FlaskClient, task: str, path: str) -> int:
    """Do what the task is about."""
    return ask(client, "DELETE", path) if task == "delete" else ask(client, "PUT", path, NEW)


def path_of(task: str, at: int) -> str:
    """The object that is killed at."""
    return f"{task}/{at}"


def main(db_path: str, store: str, detail: str) -> None:
    """Do the tasks that are asked for."""
    _warm_up()
    while task := wait_for_word():
        status, at = -signal.SIGKILL, 0
        while status == -signal.SIGKILL:
            child = os.fork()
            if child == 0:
                _die(db_path, store, detail, task, at)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            tell(f"{at} {'answered' if status == 0 else 'killed'}")
            assert status in (0, -signal.SIGKILL)
            at += 1


def _warm_up() -> None:
    """Load and compile once what every forked process needs, with a database that is none of the test's."""
    for library, user in LIBRARIES.items():
        if find_spec(library):
            import_module(user)
    with TemporaryDirectory() as place, MeteorDatabase(f"{place}/node.db", f"{place}/files") as db:
        add_users(db, "anna")
        StoredBlocks(db).make()
        client = application(db).app.test_client()
        for task in ("create", "delete"):
            assert request(client, task, "a") == 204


def _die(db_path: str, store: str, detail: str, task: str, at: int) -> None:
    status = 1
    try:
        with MeteorDatabase(db_path, store, db_user=USER, db_password=PASSWORD) as db:
            client, path = application(db).app.test_client(), path_of(task, at)
            vars(register)["UNRESERVED_BYTES"] = 0  # as if objects were so large that room is kept for them
            if task != "create":
                assert ask(client, "PUT", path, OLD) == 204
            Moments(at).watch(db, detail)
            assert request(client, task, path) == 204
        status = 0
    finally:
        os._exit(status)


@contextmanager
def killing(db_path: str, store: str, detail: str) -> Iterator[Callable[[str], Iterator[tuple[int, bool]]]]:
    """Call what this gives for the moments of a task: their numbers, and whether the request was answered."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.blocks.killed", db_path, store, detail],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:

        def moments(task: str) -> Iterator[tuple[int, bool]]:
            say(process, task)
            is_answered = False
            while not is_answered:
                at, word = next_line(process).split()
                is_answered = word == "answered"
                yield int(at), is_answered

        try:
            yield moments
        finally:
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
