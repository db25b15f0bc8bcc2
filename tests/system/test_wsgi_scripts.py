"""The scripts in wsgi/ run configured by the environment alone, as a web server starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meteorpi_db.testing.processes import wait_until
from tests.system import fastcgi

pytestmark = pytest.mark.contract("issue-2.11")

# Makes each of the requests given to the application that a script exposes, and prints the statuses.
ASK = """\
import json, runpy, sys
from werkzeug.test import Client
names = runpy.run_path(sys.argv[1])
client = Client(names["application"])
asked = [request.split() for request in sys.argv[2:]]
print(json.dumps([client.open(path, method=method).status_code for method, path in asked]))
"""


def variables(directory: Path, **settings: str) -> dict[str, str]:
    """The environment of a node that keeps everything in `directory`."""
    places = {"DB_PATH": str(directory / "node.db"), "FILE_STORE": str(directory / "files")}
    own = {f"METEORPI_{name}": value for name, value in (places | settings).items()}
    return {name: value for name, value in os.environ.items() if not name.startswith("METEORPI_")} | own


def statuses(script: Path, environment: dict[str, str], *requests: str) -> list[int]:
    """What the application that `script` exposes answers to each of `requests`, such as ``GET /cameras``."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, script, *requests],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: list[int] = json.loads(done.stdout)
    return found


@pytest.mark.contract("11/apache", "11/fastcgi")
@pytest.mark.parametrize("name", ["apache", "fastcgi"])
def test_script_offers_every_set_of_routes(name: str, repository: Path, tmp_path: Path) -> None:
    script = repository / "wsgi" / f"{name}.py"

    found = statuses(
        script, variables(tmp_path), "GET /cameras", "GET /users", "POST /import", "GET /health", "GET /x"
    )

    assert found == [200, 401, 401, 200, 404]


def test_script_places_every_route_below_the_path_of_the_settings(repository: Path, tmp_path: Path) -> None:
    script = repository / "wsgi" / "apache.py"
    environment = variables(tmp_path, URL_PATH="/api")

    found = statuses(script, environment, "GET /api/cameras", "POST /api/import", "GET /cameras")

    assert found == [200, 401, 404]


@pytest.mark.contract("11/apache")
def test_script_starts_the_exporter_where_the_settings_ask_for_it(repository: Path, tmp_path: Path) -> None:
    environment = variables(tmp_path, EXPORT="true", MARK_INTERVAL_SECONDS="3600")

    assert statuses(repository / "wsgi" / "apache.py", environment, "GET /cameras") == [200]


def test_query_only_script_offers_nothing_that_changes_anything(repository: Path, tmp_path: Path) -> None:
    script = repository / "wsgi" / "query_only.py"

    found = statuses(script, variables(tmp_path), "GET /cameras", "GET /users", "POST /import")

    assert found == [200, 404, 404]


@pytest.mark.contract("K-500", "A.13/environment", "A.14/yaml")
def test_blocks_script_takes_the_settings_of_the_block_server(repository: Path, tmp_path: Path) -> None:
    script, home = repository / "wsgi" / "blocks.py", tmp_path / "home"
    home.mkdir()
    (home / ".qabel.yaml").write_text(f"qabel: {{block: {{local-storage: {tmp_path}/objects}}}}")
    environment = variables(tmp_path) | {"HOME": str(home), "BLOCK_MAX_BODY_SIZE": "1000"}

    found = statuses(
        script, environment, "GET /api/v0/info", "GET /api/v0/quota/", "GET /health", "GET /cameras"
    )
    (home / ".qabel.yaml").write_text("qabel: {block: {dummy: true}}")
    refused = subprocess.run(
        [sys.executable, script], check=False, env=environment, stderr=subprocess.PIPE, text=True
    )

    assert found == [200, 403, 200, 404]
    assert (tmp_path / "objects").is_dir()
    assert "storage that forgets is for debug mode only" in refused.stderr


def test_unknown_setting_stops_the_script_and_names_itself(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, repository / "wsgi" / "apache.py"],
        check=False,
        env=variables(tmp_path, NO_SUCH_THING="1"),
        stderr=subprocess.PIPE,
        text=True,
    )

    assert done.returncode != 0
    assert "METEORPI_NO_SUCH_THING" in done.stderr


@pytest.mark.contract("11/fastcgi")
def test_fastcgi_script_answers_over_the_socket_it_is_started_with(repository: Path, tmp_path: Path) -> None:
    address = tmp_path / "socket"

    with (
        fastcgi.listen(address) as listener,
        subprocess.Popen(
            [sys.executable, repository / "wsgi" / "fastcgi.py"],
            stdin=listener.fileno(),
            env=variables(tmp_path),
        ) as program,
    ):
        reply = fastcgi.get(address, "/cameras")
        program.send_signal(signal.SIGTERM)
        wait_until(lambda: program.poll() is not None, 10, "end of the FastCGI program")

    assert (reply.status, json.loads(reply.body)) == (200, {"cameras": []})
    assert program.returncode == 0
