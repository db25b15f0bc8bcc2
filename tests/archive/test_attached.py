"""Who may use which archive route, and a node without them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import ConfigurationError
from meteorpi_server import MeteorApp, archive_api
from meteorpi_server.deployment import make_meteor_app
from meteorpi_server.settings import Settings
from tests.archive.conftest import ArchiveNode
from tests.server.conftest import basic, bearer
from tests.server.test_access import routes_of

pytestmark = pytest.mark.engines("sqlite")

NOBODY_KNOWS = "00000000000040008000000000000001"
MATRIX: dict[tuple[str, str], tuple[str, bool]] = {
    ("POST", "/ticket/generate"): ("/ticket/generate", True),
    ("GET", "/ticket/"): ("/ticket/", True),
    ("GET", "/ticket/<ticket_id>"): (f"/ticket/{NOBODY_KNOWS}", False),
    ("DELETE", "/ticket/<ticket_id>"): (f"/ticket/{NOBODY_KNOWS}", True),
    ("GET", "/ticket/<ticket_id>/download"): (f"/ticket/{NOBODY_KNOWS}/download", False),
    ("GET", "/ticket/<ticket_id>/download/<path:file_name>"): (f"/ticket/{NOBODY_KNOWS}/download/x", False),
    ("GET", "/ticket/<ticket_id>/wait"): (f"/ticket/{NOBODY_KNOWS}/wait", False),
    ("GET", "/stream/url/<token>"): ("/stream/url/x?client=x", False),
    ("GET", "/bundle/files/<path:search>"): ("/bundle/files/%257B%257D", False),
    ("GET", "/bundle/event/<event_id>"): (f"/bundle/event/{NOBODY_KNOWS}", False),
    ("GET", "/bundle/night/<path:camera_id>/<date>"): ("/bundle/night/x/2015-04-01", False),
    ("GET", "/archive/<name>/"): ("/archive/0123456789abcdef/", False),
    ("GET", "/archive/"): ("/archive/", False),
    ("GET", "/archive/healthz"): ("/archive/healthz", False),
}
"""Each route with an address, and whether it asks for the secret of a client or an account."""


@pytest.mark.contract("archive-3.2/routes")
def test_every_archive_route_is_in_the_matrix(archive_node: ArchiveNode) -> None:
    assert routes_of(archive_node.meteor_app) <= set(MATRIX)


@pytest.mark.contract("archive-3.2/routes", "archive-3.3/users", "archive-3.3/secret")
def test_routes_ask_for_credentials_where_they_should(archive_node: ArchiveNode) -> None:
    client = archive_node.client()
    attached = routes_of(archive_node.meteor_app)
    expected = {True: {"none": 401, "wrong": 401, "nobody": 403}, False: {}}
    sent = {"none": {}, "wrong": bearer("wrong"), "nobody": basic("nobody")}
    for (method, rule), (path, is_guarded) in MATRIX.items():
        if (method, rule) not in attached:
            continue
        for kind, headers in sent.items():
            if not is_guarded and path.startswith("/bundle/"):
                continue  # as for searches: credentials that are sent have to be right
            status = archive_node.http.open(path, method=method, headers=headers).status_code
            wanted = expected[is_guarded].get(kind)
            assert status == wanted if wanted else status not in (401, 403, 500), (method, path, kind)
        for headers in (basic("visitor"), basic("admin"), client):
            status = archive_node.http.open(path, method=method, headers=headers).status_code
            assert status not in (401, 403, 500), (method, path)


@pytest.mark.contract("archive-3.21")
@pytest.mark.parametrize(
    ("options", "named"),
    [({"max_activ": 3}, "max_active"), ({"ttl": "long"}, "ttl"), ({"user_roles": "user"}, "user_roles")],
)
def test_unknown_options_and_values_stop_the_start(
    archive_node: ArchiveNode, options: dict[str, object], named: str
) -> None:
    meteor_app = MeteorApp(db=archive_node.db, settings=Settings())

    with pytest.raises(ConfigurationError, match=named):
        archive_api.add_routes(meteor_app, **options)  # type: ignore[arg-type]


@pytest.mark.contract("archive-3.1/attach", "archive-3.21")
def test_options_override_the_settings_of_the_node(
    archive_node: ArchiveNode, make_archive_node: Callable[..., ArchiveNode]
) -> None:
    environ = {"METEORPI_ARCHIVE_TTL": "50", "METEORPI_ARCHIVE_MAX_TTL": "60", "METEORPI_ROUTES": "archive"}
    settings = Settings.from_environ(environ)
    meteor_app = make_meteor_app(archive_node.db, settings)
    archive_api.add_routes(meteor_app, url_path="/again", max_ttl=70)

    def status(path: str, ttl: int) -> int:
        body = {"items": [], "options": {"allow_empty": True, "ttl": ttl}}
        http = meteor_app.app.test_client()
        return http.post(f"{path}/ticket/generate", json=body, headers=basic("visitor")).status_code

    assert [status("", 60), status("", 61)] == [200, 422]
    assert [status("/again", 70), status("/again", 71)] == [200, 422]


def test_archives_are_in_the_description_of_the_node(tmp_path: Path) -> None:
    with MeteorDatabase(tmp_path / "node.db", tmp_path / "files") as db:
        http = make_meteor_app(db, Settings(routes=("node", "archive"))).app.test_client()

        document = http.get("/openapi.json").json

        assert document is not None
        assert document["paths"]["/ticket/generate"]["post"]["security"]
        assert "security" not in document["paths"]["/ticket/{ticket_id}/download"]["get"]
        assert http.get("/docs").status_code == 200
        assert "archive" in [each["name"] for each in http.get("/capabilities").json["routes"]]  # type: ignore[index]


ABSENT = """
import sys
from pathlib import Path
from sqlalchemy import event
from meteorpi_db import MeteorDatabase
from meteorpi_server import MeteorServer
from meteorpi_server.deployment import ROUTE_PACKAGES, make_meteor_app
from meteorpi_server.settings import Settings

with MeteorDatabase(Path("node.db"), Path("files")) as db:
    said = []
    event.listen(db.con, "before_cursor_execute", lambda *arguments: said.append(arguments[2]))
    routes = tuple(name for name in ROUTE_PACKAGES if name != "archive")
    app = make_meteor_app(db, Settings(routes=routes)).app
    client = app.test_client()
    paths = ["/ticket", "/ticket/x", "/ticket/x/download", "/ticket/x/wait", "/stream/url/x?client=x",
        "/archive/", "/archive/healthz", "/archive/0123456789abcdef/", "/bundle/event/x",
        "/bundle/files/%7B%7D", "/bundle/night/x/2015-04-01"]
    assert {client.get(path).status_code for path in paths} == {404}
    assert client.post("/ticket/generate").status_code == 404
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    assert not [rule for rule in rules if rule.startswith(("/ticket", "/archive", "/bundle", "/stream"))]
    assert client.get("/openapi.json").status_code == client.get("/metrics").status_code == 200
    assert client.get("/files/%7B%7D").status_code == client.get("/cameras").status_code == 200
    assert said
    assert not [statement for statement in said if "archive_" in statement.lower()]
ours = ("meteorpi_server.archive_api", "meteorpi_server.archiving", "meteorpi_server.outbound",
    "meteorpi_server.archive_server", "meteorpi_db.archives.register", "meteorpi_db.archives.queue")
loaded = [name for name in sys.modules if name.startswith(ours)]
assert not loaded, loaded
"""


@pytest.mark.contract("archive-6.9", "archive-3.1/attach")
def test_node_without_archives_has_none_of_their_routes_modules_and_statements(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABSENT],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
