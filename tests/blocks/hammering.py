"""Processes that change the same few objects.

Run as ``python -m tests.blocks.hammering DB_PATH STORE COUNT``. The one that is started forks the others, so
that everything is imported once. Each says ``PID ready``, goes on when standard input ends, and tells of each
step, until it is told to stop:

* ``PID won PATH SEEN NOW``: it replaced what it had seen, or created the object where it had seen none,
* ``PID removed PATH SEEN``,
* ``PID lost``: somebody was faster,
* ``PID failed STATUS``, which nobody expects.

Objects are named by their SHA-256, ``-`` for none. At the end the first says ``PID ended STATUS`` of each.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from random import Random
from threading import Event
from typing import Final

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from meteorpi_db import MeteorDatabase
from meteorpi_db.blocks.sweeping import sweep_released
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model import now
from meteorpi_server import MeteorApp, block_api
from meteorpi_server.settings import Settings
from tests.blocks.making import PREFIX, digest
from tests.blocks.signed_in import signed_in
from tests.db.workers import REPOSITORY, tell

PATHS: Final = ("index", "blocks/1", "blocks/2")
NOTHING: Final = "-"
OWNER: Final = signed_in("anna")


class Hammer:
    """One of those who do the same to the same objects, by requests as clients send them."""

    def __init__(self, db: MeteorDatabase, app: MeteorApp, chance: Random) -> None:
        self._db = db
        self._client: FlaskClient = app.app.test_client()
        self._chance = chance

    def step(self) -> str:
        """Replace, create or remove an object that is still what was seen; what became of it."""
        path = self._chance.choice(PATHS)
        head = self._ask("HEAD", path, {})
        seen = head.headers["ETag"].strip('"') if head.status_code == 200 else NOTHING
        demand = {"If-None-Match": "*"} if seen == NOTHING else {"If-Match": f'"{seen}"'}
        if seen != NOTHING and self._chance.random() < 0.3:
            reply = self._ask("DELETE", path, demand)
            sweep_released(self._db.transactions, self._db.stores.blocks, now(), timedelta(0))
            done = f"removed {path} {seen}"
        else:
            content = secrets.token_bytes(16) * self._chance.randrange(1, 5000)  # never the same twice
            reply = self._ask("PUT", path, demand, content)
            done = f"won {path} {seen} {digest(content)}"
        return {204: done, 412: "lost"}.get(reply.status_code, f"failed {reply.status_code}")

    def _ask(self, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> TestResponse:
        return self._client.open(
            f"/api/v0/files/{PREFIX}/{path}",
            method=method,
            data=content,
            headers=OWNER | headers,
            buffered=True,
        )


def application(db: MeteorDatabase) -> MeteorApp:
    """The block routes of a node."""
    meteor_app = MeteorApp(db, Settings())
    block_api.add_routes(meteor_app=meteor_app)
    return meteor_app


def main(db_path: str, store: str, count: str) -> None:
    """Start the others and wait for their ends."""
    stopped = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    workers = [_forked(db_path, store, seed, stopped) for seed in range(int(count))]
    for _ in workers:
        pid, status = os.wait()
        tell(f"{pid} ended {os.waitstatus_to_exitcode(status)}")


def _forked(db_path: str, store: str, seed: int, stopped: Event) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _work(db_path, store, Random(seed), stopped)
            status = 0
        except BaseException:  # noqa: BLE001 - told here, since nothing of this process is told later
            traceback.print_exc()
        finally:
            os._exit(status)  # straight out: taking so many modules down costs more than all that was done
    return child


def _work(db_path: str, store: str, chance: Random, stopped: Event) -> None:
    me = os.getpid()
    with MeteorDatabase(db_path, store, db_user=USER, db_password=PASSWORD) as db:
        hammer = Hammer(db, application(db), chance)
        tell(f"{me} ready")
        os.read(sys.stdin.fileno(), 1)
        while not stopped.is_set():
            tell(f"{me} {hammer.step()}")


@contextmanager
def hammering(db_path: str, store: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Run it; all are killed at the end if they have not ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.blocks.hammering", db_path, store, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
