"""How the command line begins and ends, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model import NSString
from meteorpi_model.errors import (
    ConfigurationError,
    ConflictError,
    InvalidDocumentError,
    MeteorError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    PeerRefusedError,
    PeerUnavailableError,
    SchemaVersionError,
    StoreFullError,
    TooManyAttemptsError,
    UnavailableError,
)
from meteorpi_server.cli import entry
from meteorpi_server.cli.output import printable, size_text
from tests.cli.conftest import Meteorpi, add_file

WANTED = {
    *("init", "serve", "export", "ingest", "watch", "search", "download", "status", "users", "cameras"),
    *("exports", "verify", "settings", "doctor", "demo"),
}


def all_commands() -> list[tuple[str, click.Command]]:
    """Every command with its full name, those in groups included."""
    context = click.Context(entry.cli)
    found: list[tuple[str, click.Command]] = []
    for name in entry.cli.list_commands(context):
        command = entry.cli.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", each) for sub, each in command.commands.items()]
    return found


@pytest.mark.contract("issue-2.7/commands")
def test_every_promised_command_is_there(meteorpi: Meteorpi) -> None:
    names = {name for name, _ in all_commands()}

    assert names >= WANTED
    done = meteorpi("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in WANTED)


@pytest.mark.contract("issue-2.7/commands")
@pytest.mark.parametrize(("name", "command"), all_commands())
def test_every_command_explains_itself(meteorpi: Meteorpi, name: str, command: click.Command) -> None:
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    assert meteorpi(*name.split(), "--help").code == 0


@pytest.mark.contract("issue-2.7/exit-codes")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConflictError("taken"), 1),
        (MeteorError("odd"), 1),
        (InvalidDocumentError("unreadable"), 2),
        (ConfigurationError("missing"), 2),
        (SchemaVersionError("newer"), 2),
        (UnavailableError("busy"), 3),
        (StoreFullError("full"), 3),
        (PeerUnavailableError("silent"), 3),
        (NotAuthenticatedError("who?"), 4),
        (NotAllowedError("no"), 4),
        (TooManyAttemptsError("slowly", retry_after_seconds=1), 4),
        (PeerRefusedError("never"), 4),
        (NotFoundError("nothing"), 5),
    ],
)
def test_exit_code_tells_scripts_what_went_wrong(error: MeteorError, code: int) -> None:
    assert entry.exit_code_of(error) == code


@pytest.mark.contract("issue-2.7/exit-codes")
def test_error_is_one_line_with_its_code(meteorpi: Meteorpi) -> None:
    done = meteorpi("status", "show", "nobody")

    assert (done.code, done.out) == (5, "")
    assert done.err == "error: camera nobody has no status at that time [not-found]\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["search"], ["search", "files", "--after", "teatime"], ["verify", "--wrong"], ["ingest"]],
)
def test_wrong_usage_ends_with_2(meteorpi: Meteorpi, arguments: list[str]) -> None:
    done = meteorpi(*arguments)

    assert done.code == 2
    assert "Traceback" not in done.err


def test_unreadable_setting_is_named(meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METEORPI_PORT", "many")

    done = meteorpi("cameras")

    assert done.code == 2
    assert "METEORPI_PORT" in done.err
    assert done.err.count("\n") == 1


def test_place_where_nothing_can_be_written_is_one_line(meteorpi: Meteorpi, home: Path) -> None:
    (home / "blocked").write_text("a file, not a directory")

    done = meteorpi("--db-path", home / "blocked" / "node.db", "cameras")

    assert done.code in (1, 2, 3)
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err


def test_options_before_the_command_win_over_the_environment(meteorpi: Meteorpi, home: Path) -> None:
    done = meteorpi("--db-path", home / "other.db", "--file-store", home / "other", "init")

    assert done.code == 0
    assert (home / "other.db").exists()
    assert not (home / "node.db").exists()


def test_interrupt_ends_with_130(meteorpi: Meteorpi, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.cli, "main", interrupt)

    assert meteorpi("cameras").code == 130


def test_reader_that_has_enough_is_not_complained_about(node: MeteorDatabase, home: Path) -> None:
    for minute in range(50):
        add_file(node, minute)

    script = f"{sys.executable} -m meteorpi_server.cli search files --json | head -1"
    done = subprocess.run(["sh", "-c", script], env=os.environ, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_output_cannot_command_the_terminal(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    add_file(node, 1, file_name="\x1b[2Jgone\u202e\n.png")

    done = meteorpi("search", "files")

    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "gone" in done.out
    assert meteorpi("search", "files", "--json").json["file_name"] == "\x1b[2Jgone\u202e\n.png"


def test_text_that_means_no_harm_is_printed_as_it_is() -> None:
    assert printable("Ägypten 星 ☄ file name.png") == "Ägypten 星 ☄ file name.png"


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (3_700_000, "3.7 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_written_for_people(size_bytes: float, text: str) -> None:
    assert size_text(size_bytes) == text


def test_types_are_shown_with_their_namespace(meteorpi: Meteorpi, node: MeteorDatabase) -> None:
    record = add_file(node, 1)

    assert str(NSString("timelapse/frame")) in meteorpi("search", "files").out
    assert meteorpi("search", "files", "--json").json == record.as_dict()
