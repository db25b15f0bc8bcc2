"""The documentation is true: what a page shows runs, and what exists is described.

Every page is one shell session in an empty directory. ``console`` blocks give the commands (lines that start
with ``$``), ``python`` blocks are scripts run in between. A block that cannot run here says why in a comment
directly before it: ``<!-- not run: needs a camera -->``.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE_SECONDS = 240
DOCUMENTED_PORT = "12345"
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]*?) -->\s*\n)?^```(?P<kind>python|console)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def _pages() -> list[Path]:
    folders = ("tutorial", "how-to", "reference", "explanation")
    pages = [
        ROOT / "README.md",
        *(page for name in folders for page in sorted((ROOT / "docs" / name).glob("*.md"))),
    ]
    return [page for page in pages if page.exists() and _script(page)]


def _commands(body: str) -> list[str]:
    """The commands of a console block; a line that ends in a backslash goes on in the next."""
    commands: list[str] = []
    goes_on = False
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif goes_on:
            commands[-1] += "\n" + line
        goes_on = (line.startswith("$ ") or goes_on) and line.endswith("\\")
    return commands


def _script(page: Path) -> list[str]:
    lines: list[str] = []
    for block in _BLOCK.finditer(page.read_text("utf-8")):
        if block["reason"] is not None:
            assert block["reason"].strip(), f"{page.name}: a block is not run, and does not say why"
        elif block["kind"] == "console":
            lines += _commands(block["body"])
        else:
            lines.append(f"python - <<'END_OF_PYTHON'\n{block['body']}END_OF_PYTHON")
    return lines


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_shows_runs(page: Path, tmp_path: Path) -> None:
    script = "set -eu\n" + "\n".join(_script(page)).replace(DOCUMENTED_PORT, str(_free_port()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["HOME"] = str(tmp_path)

    session = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=(tmp_path / "session.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        status = session.wait(PAGE_SECONDS)
    finally:
        # The page may leave servers running in the background: they belong to its session.
        os.killpg(session.pid, signal.SIGTERM)

    assert status == 0, (tmp_path / "session.log").read_text("utf-8", "replace")


def test_readme_pictures_and_links_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:|urn:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
