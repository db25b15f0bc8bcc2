"""The Containerfile and the compose files of deploy/container: what can be said about them without an engine.

The image was built with buildah from a bare Debian 12, and run; that takes minutes and a registry, so no test
does it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from meteorpi_server.cli import entry
from meteorpi_server.settings import Settings
from tests.cli.processes import command, running, stop

pytestmark = pytest.mark.contract("issue-3.4/container")

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CONTAINER = REPOSITORY / "deploy" / "container"
COMPOSE = ["node.compose.yaml", "hub.compose.yaml"]


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Containerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def composed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONTAINER / name).read_text())
    return found


def own_services() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in COMPOSE:
        for service, facts in composed(name)["services"].items():
            if facts["image"] == "meteorpi":
                yield f"{name}:{service}", facts


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def known_variables() -> set[str]:
    rows = {row.variable for row in Settings().rows()} | {"METEORPI_CONFIG"}
    return rows | {f"{name}_FILE" for name in rows if name.endswith("PASSWORD")}


def test_image_runs_as_nobody_in_particular_and_keeps_no_secret() -> None:
    last_stage = [word for word, _ in instructions()][
        -1 - [w for w, _ in instructions()][::-1].index("FROM") :
    ]

    assert last_stage[0] == "FROM"
    assert of("USER") == ["meteorpi"]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert of("VOLUME") == ["/var/lib/meteorpi"]
    assert json.loads(of("ENTRYPOINT")[0]) == ["meteorpi"]
    variables = set(re.findall(r"METEORPI_[A-Z_]+", " ".join(of("ENV"))))
    assert variables
    assert variables <= known_variables()
    assert not [name for name in variables if "PASSWORD" in name or "SECRET" in name]
    assert of("COPY")[0] == ". ."  # what that is, the list of exceptions says
    kept = (CONTAINER / "Containerfile.containerignore").read_text().splitlines()
    assert kept[1] == "*"
    assert {line[1:] for line in kept if line.startswith("!")} <= {path.name for path in REPOSITORY.iterdir()}


def test_files_that_the_image_is_built_from_are_the_whole_distribution(tmp_path: Path) -> None:
    """What setup.py reads and packages is among the exceptions of the list of ignored files."""
    kept = {
        line[1:]
        for line in (CONTAINER / "Containerfile.containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    packages = {path.name for path in REPOSITORY.glob("meteorpi_*") if path.is_dir()}

    assert packages | {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= kept


def test_health_check_of_the_image_tells_a_node_that_serves_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (check,) = of("HEALTHCHECK")
    _, _, command = check.partition("CMD ")
    program, *arguments = json.loads(command)
    assert program == "python"

    def is_healthy(port: int) -> bool:
        changed = [part.replace(":12345/", f":{port}/") for part in arguments]
        done = subprocess.run([sys.executable, *changed], check=False, capture_output=True, timeout=60)
        return done.returncode == 0

    with running("serve", "--port", 0, "--json", METEORPI_DB_PATH=str(tmp_path / "db")) as (_, announced):
        port = int(announced["url"].rsplit(":", 1)[1].strip("/"))
        assert is_healthy(port)
    assert not is_healthy(port)


@pytest.mark.parametrize(("name", "facts"), [pytest.param(*each, id=each[0]) for each in own_services()])
def test_service_of_a_node_is_closed_and_its_command_exists(name: str, facts: dict[str, Any]) -> None:
    assert facts["cap_drop"] == ["ALL"]
    assert facts["security_opt"] == ["no-new-privileges:true"]
    assert facts["read_only"] is True
    found_command: click.Command = entry.cli
    words = list(facts["command"])
    while isinstance(found_command, click.Group):
        found = found_command.get_command(click.Context(found_command), words.pop(0))
        assert found is not None
        found_command = found
    options = {option for parameter in found_command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert set(facts.get("environment", {})) <= known_variables()
    if facts["command"] == ["serve"]:
        assert seconds(facts["stop_grace_period"]) > Settings().stop_seconds + 15
    else:
        assert facts["healthcheck"] == {"disable": True}


@pytest.mark.contract("A.14/containers")
@pytest.mark.parametrize("name", COMPOSE)
def test_compose_file_is_consistent(name: str) -> None:
    document = composed(name)
    services = document["services"]
    for facts in services.values():
        for needed, how in facts.get("depends_on", {}).items():
            other = services[needed]
            if how["condition"] == "service_healthy":
                assert "healthcheck" not in other or "test" in other["healthcheck"]
                assert "healthcheck" in other or other["command"] == ["serve"]  # that of the image
            else:
                assert how["condition"] == "service_completed_successfully"
                assert other["restart"] == "on-failure"
        for volume in facts["volumes"]:
            source = volume.partition(":")[0]
            assert source in document["volumes"] or source.startswith((".", "/", "$"))
        assert set(facts.get("secrets", [])) <= set(document.get("secrets", {}))
        build = facts.get("build")
        if build:
            assert (CONTAINER / build["context"]).resolve() == REPOSITORY
            assert (REPOSITORY / build["dockerfile"]).is_file()


def test_secrets_of_the_hub_are_files_and_its_proxy_is_believed() -> None:
    document = composed("hub.compose.yaml")
    services = document["services"]

    assert all("file" in secret for secret in document["secrets"].values())
    for facts in services.values():
        for variable, value in facts.get("environment", {}).items():
            if "PASSWORD" in variable:
                assert variable.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in facts["secrets"]
    address = services["web"]["networks"]["hub"]["ipv4_address"]
    assert services["serve"]["environment"]["METEORPI_TRUSTED_PROXY"] == address
    assert "serve:12345" in (CONTAINER / "nginx.conf").read_text()
    assert shlex.split(services["database"]["healthcheck"]["test"][1]) == ["pg_isready"]


@pytest.mark.contract("A.14/containers")
@pytest.mark.engines("postgresql")
def test_commands_of_the_hub_work_in_their_order_on_postgresql(
    bare_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    services = composed("hub.compose.yaml")["services"]
    secret = tmp_path / "db_password"
    secret.write_text("meteorpi\n")
    environment = dict(services["serve"]["environment"]) | {
        "METEORPI_DB_PATH": bare_database,
        "METEORPI_DB_PASSWORD_FILE": str(secret),
        "METEORPI_FILE_STORE": str(tmp_path / "files"),
    }

    prepared = subprocess.run(
        command(*services["prepare"]["command"]),
        check=False,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert prepared.returncode == 0, prepared.stderr
    with running(*services["serve"]["command"], "--port", 0, "--json", **environment) as (process, announced):
        with urllib.request.urlopen(announced["url"] + "ready", timeout=30) as reply:
            assert json.load(reply)["status"] == "ok"
        code, _, err = stop(process)
    assert code == 0, err
