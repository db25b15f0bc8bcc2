"""A station with a night's recordings behind a web server, and a hub that can hold up what is pushed to it.

Also run as ``python -m tests.deployment.station DB STORE URL FILES EVENTS`` to fill the station,
as the account of the web server.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flask import request

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import wait_until
from tests.deployment.deployed import DeployedNode
from tests.system.replication import Hub, add_night, export_to, holdings

WAIT_SECONDS = 60.0
SIZE_BYTES = 50_000


class HoldingHub(Hub):
    """A hub that stops at uploads while it is told to, and remembers what it was sent.

    Attributes:
        announced: how often each entity was announced in full, by its id.
        is_held: set while an upload waits.
        go: uploads wait while this is not set.
    """

    def __init__(self, db: MeteorDatabase) -> None:
        super().__init__(db)
        self.announced: Counter[str] = Counter()
        self.is_held = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self._mutex = threading.Lock()
        self._at_work = 0
        self.meteor_app.app.before_request(self._look)
        self.meteor_app.app.teardown_request(self._end)

    def _look(self) -> None:
        with self._mutex:
            self._at_work += 1
        document = request.get_json() if request.is_json else {}
        entity = document.get(document.get("type", ""), {})
        for name in ("event_id", "file_id"):
            if name in entity:
                self.announced[entity[name]] += 1
                break
        if not request.is_json:
            self.is_held.set()
            assert self.go.wait(WAIT_SECONDS)
            self.is_held.clear()

    def _end(self, _error: BaseException | None) -> None:
        with self._mutex:
            self._at_work -= 1

    @property
    def is_idle(self) -> bool:
        """Whether it works on no request: what is sent again meets nothing that is still going on."""
        with self._mutex:
            return not self._at_work

    def effects(self) -> Counter[tuple[str, str]]:
        """How often each entity was imported, by the hub's own audit log."""
        entries = self.db.get_audit_log(limit=100_000)
        return Counter(
            (entry.action, entry.subject) for entry in entries if entry.action.startswith("import.")
        )

    @contextmanager
    def serving(self) -> Iterator[HoldingHub]:
        """Serve inside the block; nothing is held up any more when it ends."""
        with super().serving():
            try:
                yield self
            finally:
                self.go.set()


def fill(node: DeployedNode, hub_url: str, *, files: int, events: int) -> None:
    """Give the node a night to push to the hub."""
    store = node.settings["file_store"]
    program = [sys.executable, "-m", "tests.deployment.station", database_of(node), store, hub_url]
    node.run([str(part) for part in (*program, files, events)])


def database_of(node: DeployedNode) -> str:
    """The file of the node's database."""
    return str(node.settings["db_path"]).removeprefix("sqlite:///")


def ask(node: DeployedNode, statement: str) -> list[tuple[object, ...]]:
    """What a statement finds in the node's database; read-only, so that no file there becomes ours."""
    with closing(sqlite3.connect(f"file:{database_of(node)}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(statement).fetchall()


def pending(node: DeployedNode) -> int:
    """Export tasks that are not done, and configurations for which nothing has been marked yet."""
    waiting = "select count(*) from export_task where state <> 0"
    unmarked = "select count(*) from export_config where id not in (select config_pk from export_task)"
    # One statement sees one moment: what is marked next may be done before another one looks.
    ((count,),) = ask(node, f"select ({waiting}) + ({unmarked})")
    return int(str(count))


def exporting_process(node: DeployedNode) -> int | None:
    """The process that holds the lease, None when nobody does."""
    rows = ask(node, "select owner from lease where name = 'exporter' and owner is not null")
    found = re.search(r":(\d+):", str(rows[0][0])) if rows else None
    return int(found[1]) if found else None


def wait_for_all(node: DeployedNode, seconds: float = WAIT_SECONDS) -> None:
    """Wait until everything was pushed."""
    wait_until(lambda: pending(node) == 0, seconds, "the end of the export")


def holdings_of(node: DeployedNode) -> dict[str, object]:
    """Everything that the node holds."""
    with MeteorDatabase(db_path=database_of(node), file_store_path=str(node.settings["file_store"])) as db:
        return holdings(db)


def main(db_path: str, store: str, hub_url: str, files: str, events: str) -> None:
    """Fill the database with a night, and configure its export."""
    with (
        tempfile.TemporaryDirectory() as directory,
        MeteorDatabase(db_path=db_path, file_store_path=store) as db,
    ):
        add_night(db, Path(directory), files=int(files), events=int(events), size=SIZE_BYTES)
        export_to(db, hub_url)


if __name__ == "__main__":
    main(*sys.argv[1:])
