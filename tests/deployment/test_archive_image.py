"""The image of the archive server: what can be said of it without an engine, and its command at work.

The image was built with buildah from a bare Debian 12, and run; that takes minutes and a registry, so no test
does it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meteorpi_db.testing.processes import free_port
from meteorpi_server.settings import Settings
from tests.archive.own_server import NAME, ended, get, make_photos, names_in, served

pytestmark = pytest.mark.contract("archive-directory/container", "archive-3.22", "archive-fpx/deployment")

CONTAINER = Path(__file__).resolve().parents[2] / "deploy" / "container"
FILE = CONTAINER / "Archive.containerfile"


def last_stage() -> list[tuple[str, str]]:
    """The instructions after the last FROM, continued lines joined."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).split("\nFROM ")[-1].splitlines()[1:]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def of(word: str) -> str:
    (found,) = [rest for each, rest in last_stage() if each == word]
    return found


def variables() -> dict[str, str]:
    """The environment that the image sets."""
    pairs = (part.partition("=") for part in of("ENV").split())
    return {name: value for name, _, value in pairs}


def test_image_has_the_defaults_of_before_and_runs_as_nobody_in_particular() -> None:
    found = variables()

    assert (found["HOST"], found["PORT"]) == ("0.0.0.0", "8080")
    assert (found["STORAGE_PATH"], found["LOG_FILE"]) == ("/app/storage", "/app/logs/archive.log")
    assert not {"DEBUG", "DELAY", "CHUNK_SIZE"} & set(found)  # no index, no throttle unless asked for
    assert {"/app/storage", "/app/logs"} <= set(of("VOLUME").split())
    assert (of("USER"), of("EXPOSE"), of("STOPSIGNAL")) == ("meteorpi", "8080", "SIGTERM")
    kept = (CONTAINER / f"{FILE.name}.containerignore").read_text()
    assert kept == (CONTAINER / "Containerfile.containerignore").read_text()


def test_command_of_the_image_is_healthy_and_takes_the_variables_of_before(tmp_path: Path) -> None:
    make_photos(tmp_path / "storage")
    assert json.loads(of("ENTRYPOINT")) == ["meteorpi", "archive", "server", "run"]
    port = free_port()
    given = {name: value for name, value in variables().items() if name != "PATH"}
    given = {name: value.replace("/app", str(tmp_path)) for name, value in given.items()}
    given |= {
        "METEORPI_ARCHIVE_DB_URL": f"sqlite:///{tmp_path}/archive.db",
        "LOG_FILE": f"{tmp_path}/archive.log",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DEBUG": "-d",
        "CHUNK_SIZE": "100",
        "DELAY": "0.001",
    }

    assert not is_healthy(port)
    with served(tmp_path, **given) as (process, url):
        assert is_healthy(port)
        assert NAME in get(url)[1].decode()
        assert names_in(get(f"{url}archive/{NAME}/")[1]) == ["1.jpg"]
        ended(process)

    assert "outcome=complete" in (tmp_path / "archive.log").read_text()


def test_composed_service_is_closed_and_waits_for_what_is_on_its_way() -> None:
    document = yaml.safe_load((CONTAINER / "archive.compose.yaml").read_text())
    service = document["services"]["archive"]

    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    inside = {re.search(r":(/app/\w+)", volume)[1] for volume in service["volumes"]}  # type: ignore[index]
    assert inside == set(of("VOLUME").split())
    assert (CONTAINER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(FILE)
    settings = Settings()
    longest = max(settings.archive_shutdown_grace, settings.stop_seconds)
    assert int(service["stop_grace_period"].removesuffix("s")) > longest + 15


def is_healthy(port: int) -> bool:
    """What the image's own check says."""
    program, *arguments = json.loads(of("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        timeout=60,
        env={"PORT": str(port)},
    )
    return done.returncode == 0
