"""Releases of the software itself: its own steps there and back, its own server asked whether it is ready."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from meteorpi_db.migrations import SCHEMA
from meteorpi_db.testing.processes import free_port
from meteorpi_model.errors import MeteorError
from meteorpi_server.deploying.deployment import Deployment
from meteorpi_server.deploying.instructions import read_instructions
from meteorpi_server.deploying.ways import Wish
from tests.deploying.places import Repository

SERVICE = Path(__file__).with_name("service.py")
PACKAGES = ("meteorpi_model", "meteorpi_db", "meteorpi_server")
NEXT_STEP = """
LATER = Table("later", tables.metadata, Column("id", Integer, primary_key=True, autoincrement=False))
SCHEMA = Schema(tables.metadata, (*STEPS, added("a later release", (LATER,))))
"""


class Node:
    """A place with releases of this very software, and a server started and stopped as a service is."""

    def __init__(self, root: Path, sources: Path) -> None:
        self.root, self.port = root, free_port()
        root.mkdir()
        self.repository = Repository(root / "repository")
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                sources / package, self.repository.path / package, ignore=ignored, dirs_exist_ok=True
            )
        (self.repository.path / "meteorpi_server" / "cli.py").unlink()
        (root / "settings.toml").write_text(
            f"db_path = {json.dumps(str(root / 'node.db'))}\nfile_store = {json.dumps(str(root / 'files'))}\n"
        )
        start, stop = (
            [sys.executable, str(SERVICE), str(root), str(self.port), do] for do in ("start", "stop")
        )
        said = {"repository": "repository", "settings": "settings.toml", "ready": f"{self.url}/ready"}
        commands = {"reload": start, "start": start, "stop": stop}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in {**said, **commands}.items()]
        (root / "deploy.toml").write_text("".join(lines))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deployment(self) -> Deployment:
        """To deploy with; what releases need is found where this process has it."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}
        environ["PYTHONPATH"] = sysconfig.get_path("purelib")
        environ["METEORPI_INSTALLATION_ID"] = "releases0001"
        return Deployment(read_instructions(self.root), environ, lambda what, more: None)

    def ready(self) -> dict[str, object]:
        with urllib.request.urlopen(f"{self.url}/ready", timeout=30) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def tables(self) -> set[str]:
        with closing(sqlite3.connect(self.root / "node.db")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}

    def versions(self) -> list[int]:
        with closing(sqlite3.connect(self.root / "node.db")) as connection:
            return [version for (version,) in connection.execute("SELECT version FROM schema_step")]

    def end(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int((self.root / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def node(tmp_path: Path, repository: Path) -> Iterator[Node]:
    found = Node(tmp_path / "place", repository)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.contract("K-520", "K-521", "K-522", "A.14/deploy")
def test_node_is_deployed_and_gone_back_to_when_its_next_release_fails(node: Node) -> None:
    node.repository.commit("one")

    former = node.deployment().deploy("HEAD", Wish())

    assert node.ready()["release"] == former.name
    assert node.versions() == [SCHEMA.version]
    history = (node.repository.path / "meteorpi_db/migrations/history.py").read_text()
    history = history.replace("import MetaData", "import Column, Integer, MetaData")
    files = {
        "meteorpi_db/migrations/history.py": history + NEXT_STEP,
        "meteorpi_server/cli/running.py": "raise SystemExit('this release does not serve')\n",
    }
    node.repository.commit("two", **files)

    with pytest.raises(MeteorError, match=f"{former.name} is in service again"):
        node.deployment().deploy("HEAD", Wish(may_stop=True))

    assert node.ready() == {**node.ready(), "status": "ok", "release": former.name}
    assert (node.versions(), "later" in node.tables()) == ([SCHEMA.version], False)
    copies = {path.name.split(".version-")[1][0] for path in node.root.glob("node.db.version-*")}
    assert copies == {str(SCHEMA.version), str(SCHEMA.version + 1)}  # one before each change of the schema
