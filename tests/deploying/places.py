"""A place to deploy to: a Git repository of small releases, and a service that is told what to run."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meteorpi_server.deploying.deployment import Deployment
from meteorpi_server.deploying.instructions import read_instructions
from meteorpi_server.deploying.preview import Preview
from meteorpi_server.deploying.ways import Wish
from tests.components import absent

PROGRAM = Path(__file__).with_name("small_release.py")
WAIT_SECONDS = 60.0


class Repository:
    """A Git repository whose commits are small releases."""

    def __init__(self, path: Path) -> None:
        if shutil.which("git") is None:
            absent("git is not installed: tools/system-packages git")
        self.path = path
        path.mkdir()
        self._git("init", "--quiet", "--initial-branch", "main")
        package = path / "meteorpi_server"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "cli.py").write_text(PROGRAM.read_text())
        (path / "requirements.txt").write_text("# nothing is needed\n")

    def commit(
        self, name: str, steps: Sequence[str] = (), *, onto: str | None = None, **files: str | None
    ) -> str:
        """Commit a release and give its SHA-1.

        Args:
            name: what it calls itself in the log.
            steps: of the schema that it knows; a name that ends in ``!`` is not tolerated by older ones.
            onto: the commit to follow; that of the last call if not given.
            files: further files; None removes one.
        """
        if onto is not None:
            self._git("checkout", "--quiet", "--detach", onto)
        known = [{"description": step, "tolerated": not step.endswith("!")} for step in steps]
        for file, text in {"name": name, "steps.json": json.dumps(known), **files}.items():
            if text is None:
                (self.path / file).unlink()
            else:
                (self.path / file).write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", name)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        identity = {"NAME": "Somebody", "EMAIL": "somebody@example.org"}
        names = {
            f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in identity.items()
        }
        environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        done = subprocess.run(
            ["git", "-C", str(self.path), *words], env=environ, check=True, capture_output=True, timeout=60
        )
        return done.stdout.decode()


class Place:
    """A place with its repository, its settings, and what is served there."""

    def __init__(self, root: Path, ready: str) -> None:
        self.root = root
        root.mkdir()
        self.repository = Repository(root / "repository")
        self.ready = ready
        self.settings()
        self.instruct()

    def instruct(self, **changed: Any) -> None:
        """Write the instructions."""
        said = {
            "repository": "repository",
            "settings": "settings.toml",
            "ready": self.ready,
            "ready_seconds": WAIT_SECONDS,
            **{name: self._launch(name) for name in ("reload", "start", "stop")},
            **changed,
        }
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items() if value is not None)
        (self.root / "deploy.toml").write_text(text)

    def settings(self, **values: str) -> None:
        """Write the settings of the releases."""
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        (self.root / "settings.toml").write_text(f"place = {json.dumps(str(self.root))}\n{text}")

    def _launch(self, command: str) -> list[str]:
        return [str(self.root / "deployed" / "current" / "meteorpi"), command]

    @property
    def environ(self) -> dict[str, str]:
        """Of deployments: without settings of whoever runs the tests."""
        return {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}

    def deployment(self) -> tuple[Deployment, list[str]]:
        """To deploy with, and what it says it does."""
        said: list[str] = []
        instructions = read_instructions(self.root)
        return Deployment(instructions, self.environ, lambda what, _more: said.append(what)), said

    def preview(self, commit: str, wish: Wish) -> list[str]:
        """What a deployment says it would do."""
        said: list[str] = []
        preview = Preview(read_instructions(self.root), self.environ, lambda what, _more: said.append(what))
        preview.of_commit(commit, wish)
        return said

    @property
    def link(self) -> Path:
        return self.root / "deployed" / "current"

    @property
    def served(self) -> str | None:
        """SHA-1 of what runs."""
        running = self.root / "running"
        if not running.exists():
            return None
        return (self.root / "deployed" / "releases" / running.read_text() / "COMMIT").read_text().strip()

    @property
    def log(self) -> list[str]:
        """What the releases did."""
        path = self.root / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def schema(self) -> list[str]:
        """The steps that the database has."""
        return [step["description"] for step in json.loads((self.root / "database").read_text())["steps"]]

    def add_row(self, step: str) -> None:
        """Write something that goes when the step does."""
        path = self.root / "database"
        found = json.loads(path.read_text())
        path.write_text(json.dumps({**found, "rows": [*found["rows"], step]}))

    def kill_at(self, moment: str) -> None:
        """Have whoever is at work killed there."""
        (self.root / "kill").write_text(moment)

    def deploy_in_process(self, commit: str, *, stop: bool = False) -> int:
        """Deploy in a process of its own; gives how it ended."""
        words = [sys.executable, "-m", "tests.deploying.deploy_once", str(self.root), commit, str(int(stop))]
        return subprocess.run(words, timeout=WAIT_SECONDS, check=False, capture_output=True).returncode


@contextmanager
def opened_place(root: Path) -> Iterator[Place]:
    """A place whose ``/ready`` answers for as long as the context lasts."""

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running = root / "running"
            text = json.dumps({"release": running.read_text()}) if running.exists() else "{}"
            self.send_response(200 if running.exists() else 503)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: pytest shows what a server writes."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Place(root, f"http://127.0.0.1:{server.server_address[1]}/ready")
        finally:
            server.shutdown()
            thread.join(WAIT_SECONDS)
