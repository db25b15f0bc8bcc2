"""The documentation is true: what a page shows runs, and what exists is described.

Every page is one shell session in an empty directory. ``console`` blocks give the commands (lines that start
with ``$``), ``python`` blocks are scripts run in between; a ``{code-block} python`` with a caption is a file
of that name. A command that ends in ``&`` starts a server: the session goes on when its port is open. A block
that cannot run here says why in a comment directly before it: ``<!-- not run: needs a camera -->``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest
from flask import Flask

from meteorpi_db import MeteorDatabase
from meteorpi_db.testing.processes import free_port
from meteorpi_model import EventSearch, ExportConfiguration, errors
from meteorpi_server import auth, problems
from meteorpi_server.cli import entry
from meteorpi_server.deployment import ROUTE_PACKAGES, make_meteor_app
from meteorpi_server.settings import Settings

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGE_SECONDS = 120
DOCUMENTED_PORTS = ("12345", "12346", "12347")
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]*?) -->\s*\n)?"
    r"^```(?P<kind>python|console|\{code-block\} python\n:caption: (?P<name>[\w.]+)\n)\n"
    r"(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_WAIT_UNTIL_OPEN = """
wait_until_open() {
    for attempt in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nobody listens on port $1"; exit 1
}
"""


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


def _waits(command: str) -> list[str]:
    """What to wait for after a command that goes on in the background."""
    if not command.endswith("&"):
        return []
    return [f"wait_until_open {port}" for port in DOCUMENTED_PORTS if port in command]


def _script(page: Path) -> list[str]:
    lines: list[str] = []
    for block in _BLOCK.finditer(page.read_text("utf-8")):
        if block["reason"] is not None:
            assert block["reason"].strip(), f"{page.name}: a block is not run, and does not say why"
        elif block["kind"] == "console":
            lines += [line for command in _commands(block["body"]) for line in (command, *_waits(command))]
        else:
            use = f"cat > {block['name']}" if block["name"] else "python -"
            lines.append(f"{use} <<'END_OF_PYTHON'\n{block['body']}END_OF_PYTHON")
    return lines


def _with_free_ports(script: str) -> str:
    """`script` with other ports for the documented ones."""
    chosen: set[int] = set()
    while len(chosen) < len(DOCUMENTED_PORTS):
        chosen.add(free_port())
    for documented, port in zip(DOCUMENTED_PORTS, chosen, strict=True):
        script = script.replace(documented, str(port))
    return script


@pytest.mark.contract("archive-6.10")
@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_shows_runs(page: Path, tmp_path: Path) -> None:
    script = _with_free_ports("\n".join(["set -euo pipefail", _WAIT_UNTIL_OPEN, *_script(page)]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["HOME"] = str(tmp_path)
    folder, log = tmp_path / "page", tmp_path / "session.log"
    folder.mkdir()

    with log.open("wb") as output:
        session = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = session.wait(PAGE_SECONDS)
        finally:
            with suppress(ProcessLookupError):  # the page may have stopped all that it started
                os.killpg(session.pid, signal.SIGTERM)

    assert status == 0, log.read_text("utf-8", "replace")


def test_pictures_and_links_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:|urn:)([^)#\s]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def _rows(page: str) -> Iterator[tuple[str, ...]]:
    """The rows of all tables of a reference page; code marks and escapes of bars removed."""
    for line in (REFERENCE / page).read_text("utf-8").splitlines():
        if line.startswith("| ") and not set(line) <= set("| -:"):
            cells = re.split(r"(?<!\\)\|", line.strip()[1:-1])
            yield tuple(cell.strip().replace("`", "").replace(r"\|", "|") for cell in cells)


def test_settings_are_described_as_they_are_declared() -> None:
    declared = {(row.variable, row.kind, row.default or "", row.help) for row in Settings().rows()}

    described = {row for row in _rows("settings.md") if row[0].startswith("METEORPI_")}

    assert described == declared


@pytest.fixture
def whole_app(tmp_path: Path) -> Iterator[Flask]:
    """An application with every route package, on a node with an export configuration."""
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files") as db:
        search = EventSearch(limit=0)
        db.create_or_update_export_configuration(
            ExportConfiguration("https://hub.example/import", "station", "secret", search, "all", "")
        )
        settings = dataclasses.replace(Settings(), routes=tuple(ROUTE_PACKAGES), block_metrics_access="open")
        yield make_meteor_app(db, settings).app


def test_every_route_is_described_with_its_role(whole_app: Flask) -> None:
    existing = set()
    for rule in whole_app.url_map.iter_rules():
        roles = auth.required_roles(whole_app.view_functions[rule.endpoint])
        role = "anyone" if roles is None else ", ".join(roles) or "any account"
        path = rule.rule.replace("<path:", "<")
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        existing |= {(method, path, role) for method in methods}

    described = {row[:3] for row in _rows("http-api.md") if len(row) > 3 and row[1].startswith("/")}

    assert described == existing


def test_every_metric_is_described(whole_app: Flask) -> None:
    client = whole_app.test_client()
    text = client.get("/metrics").text + client.get("/api/v0/metrics").text
    existing = set(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))

    described = {row[:2] for row in _rows("metrics.md") if row[0] != "metric"}

    assert described == existing


def test_every_problem_code_is_described_with_its_status() -> None:
    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MeteorError)
    ]
    codes = {kind.code for kind in classes} | set(problems.all_codes())
    statuses = {code: str(status) for status, code in sorted(problems.CODE_BY_STATUS.items(), reverse=True)}
    statuses |= {code: str(status) for code, status in problems.STATUS_BY_CODE.items()}
    existing = {(code, statuses.get(code, "-")) for code in codes}

    described = {row[:2] for row in _rows("problems.md") if row[0] != "code"}

    assert described == existing


def test_what_may_be_retried_is_described() -> None:
    retryable = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MeteorError) and kind.retryable
    }

    described = {row[0] for row in _rows("problems.md") if len(row) > 2 and row[2].startswith("yes")}

    assert described == retryable


def _leaf_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from _leaf_commands(child, f"{path} {name}")


def _sections(page: str) -> dict[str, str]:
    """The texts below the headings of a reference page."""
    parts = re.split(r"^#+ (.+)$", (REFERENCE / page).read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _options(command: click.Command) -> set[str]:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    return {name for name in names if name.startswith("--")} - {"--help", "--version"}


def test_every_command_is_described_with_its_options() -> None:
    sections = _sections("command-line.md")
    shared = {
        "#options-of-searches": sections["Options of searches"],
        "#options-of-ingest-and-watch": sections["Options of ingest and watch"],
        "#arguments-of-reports": sections["Arguments of reports"],
    }
    commands = dict(_leaf_commands(entry.cli, "meteorpi"))

    assert {name for name in sections if name.startswith("meteorpi ")} == set(commands)
    assert _options(entry.cli) <= set(
        re.findall(r"--[a-z][a-z0-9_-]*", sections["Options before the command"])
    )
    for name, command in commands.items():
        text = sections[name] + "".join(part for link, part in shared.items() if link in sections[name])
        missing = _options(command) - set(re.findall(r"--[a-z][a-z0-9_-]*", text))
        surplus = set(re.findall(r"--[a-z][a-z0-9_-]*", sections[name])) - _options(command)
        assert not missing, f"{name} has options that are not described: {missing}"
        assert not surplus, f"{name} has no options {surplus}"


def test_every_exit_code_is_described() -> None:
    existing = {0, *(code for name, code in vars(entry).items() if name.startswith("EXIT_"))}

    described = {int(row[0]) for row in _rows("command-line.md") if row[0].isdigit()}

    assert described == existing


@pytest.mark.contract("B-40", "B-43", "B-49", "B-53", "B-56")
@pytest.mark.parametrize(
    ("page", "statement"),
    [
        (
            "how-to/run-a-station.md",
            "an event that is not later stays and loses its later files. The log counts",
        ),
        ("reference/search.md", "A box of longitudes cannot cross 180°"),
        ("reference/http-api.md", "An account that is disabled can do nothing at all"),
        ("how-to/choose-a-database.md", "Everybody knows that password."),
        ("how-to/replicate.md", "A camera status that replaces one deleted in that way has an id of its own"),
        ("reference/export-protocol.md", "Deletions are not propagated"),
    ],
)
def test_known_limits_are_stated(page: str, statement: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")

    assert statement in " ".join(text.split())
