"""Health, metrics and descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_model.errors import UnavailableError
from meteorpi_server import MeteorApp, node_api, openapi, problems, query_api
from tests.server.conftest import Node
from tests.server.test_access import MATRIX

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.engines("sqlite")


@pytest.mark.contract("issue-2.4/node")
def test_a_live_node_is_healthy_and_ready(node: Node) -> None:
    assert node.get("/health").json == {"status": "ok"}
    assert node.get("/ready").json == {"status": "ok", "checks": {"database": "ok", "file_store": "ok"}}


@pytest.mark.contract("issue-2.4/node")
@pytest.mark.parametrize("part", ["database", "file_store"])
def test_a_node_without_database_or_store_is_alive_but_not_ready(
    node: Node, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*args: object) -> None:
        raise UnavailableError("gone")

    if part == "database":
        monkeypatch.setattr(node.db, "get_schema_version", fail)
    else:
        monkeypatch.setattr(node.db.store, "check", fail)

    answer = node.get("/ready")

    assert node.get("/health").status_code == 200
    assert answer.status_code == 503
    assert part.replace("_", " ") in answer.text
    assert "Retry-After" in answer.headers


def samples(text: str) -> dict[str, float]:
    """The samples of a page of metrics, every line checked against the exposition format."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line)
            continue
        match = re.fullmatch(r'([a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})?) (\S+)', line)
        assert match, line
        found[match[1]] = float(match[2])
    return found


@pytest.mark.contract("issue-2.4/node")
def test_metrics_count_records_exports_and_requests(node: Node) -> None:
    node.add_file(b"12345")
    node.get("/cameras")
    node.get("/nothing")

    answer = node.get("/metrics")

    assert answer.content_type.startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found['meteorpi_entities{kind="files"}'] == 1
    assert found["meteorpi_content_bytes"] == 5
    assert found["meteorpi_store_free_bytes"] > 0
    assert found['meteorpi_requests_total{method="GET",status="200"}'] == 1
    assert found['meteorpi_requests_total{method="GET",status="404"}'] == 1
    assert found["meteorpi_requests_in_flight"] == 1
    assert found["meteorpi_request_seconds_count"] == 2
    assert found['meteorpi_request_seconds_bucket{le="+Inf"}'] == 2


def test_metrics_have_as_many_series_whatever_is_asked(node: Node) -> None:
    for number in range(20):
        node.http.open("/cameras", method=f"X{number}")

    found = samples(node.get("/metrics").text)

    assert sum(name.startswith("meteorpi_requests_total") for name in found) == 1
    assert found['meteorpi_requests_total{method="OTHER",status="405"}'] == 20


def test_labels_are_escaped() -> None:
    from meteorpi_server.exposition import label_text

    assert label_text({"a": 'x"y\\z\n'}) == r'{a="x\"y\\z\n"}'


@pytest.mark.contract("issue-2.4/node")
def test_capabilities_name_what_is_attached(db: MeteorDatabase) -> None:
    meteor_app = MeteorApp(db=db)
    query_api.add_routes(meteor_app, url_path="/api")
    node_api.add_routes(meteor_app)

    shown: Any = meteor_app.app.test_client().get("/capabilities").json

    assert shown["routes"] == [
        {"name": "query", "url_path": "/api", "version": 1},
        {"name": "node", "url_path": "", "version": 1},
    ]
    assert shown["software"]["schema_version"] >= 1
    assert shown["software"]["record_version"] == 1
    assert shown["limits"]["anonymous_limit"] == 100_000
    assert set(shown["problems"]) >= set(problems.STATUS_BY_CODE)


def description(node: Node) -> dict[str, Any]:
    document: Any = node.get("/openapi.json").json
    found: dict[str, Any] = document
    return found


@pytest.mark.contract("issue-2.4/openapi")
def test_openapi_describes_every_attached_route_and_nothing_else(node: Node) -> None:
    described = {
        (method.upper(), path) for path, methods in description(node)["paths"].items() for method in methods
    }

    assert described == {(method, re.sub(r"<(?:[a-z]+:)?(\w+)>", r"{\1}", rule)) for method, rule in MATRIX}


def test_openapi_tells_who_may_use_what(node: Node) -> None:
    paths = description(node)["paths"]

    for (method, rule), (_, roles) in MATRIX.items():
        operation = paths[re.sub(r"<(?:[a-z]+:)?(\w+)>", r"{\1}", rule)][method.lower()]
        if roles is None:
            assert "security" not in operation
        else:
            assert set(operation["security"][0]["basic"]) == set(roles)
            assert {"401", "403"} <= set(operation["responses"])


def test_openapi_has_the_shape_that_the_specification_asks_for(node: Node) -> None:
    document = description(node)
    names = set()

    assert document["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(document["info"])
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.add(operation["operationId"])
            assert operation["summary"].endswith((".", ";"))
            declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))
            assert all("schema" in each for each in operation["parameters"])
            assert all("description" in each for each in operation["responses"].values())
    assert len(names) == sum(map(len, document["paths"].values()))


def test_schemas_in_openapi_are_valid_and_complete(node: Node) -> None:
    document = description(node)
    references = set(re.findall(r'"\$ref": ?"(#[^"]+)"', node.get("/openapi.json").text))

    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                for media in answer.get("content", {}).values():
                    jsonschema.Draft202012Validator.check_schema(media.get("schema", {}))


def conforms(document: dict[str, Any], method: str, path: str, instance: object) -> None:
    """Raise when `instance` is not what the description of a route promises as its reply."""
    operation = document["paths"][path][method]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(instance, {**schema, "components": document["components"]})
    assert isinstance(instance, dict)
    assert set(instance) >= set(schema["properties"])


@pytest.mark.contract("issue-2.4/openapi")
def test_replies_conform_to_their_description(node: Node) -> None:
    record = node.add_file()
    assert record.file_id is not None
    document = description(node)
    target = {"target_url": "http://x/import", "user_id": "u", "password": "p"}
    export = {"type": "file", "name": "n", "description": "d", **target}
    config: Any = node.as_admin("POST", "/export", export).json
    config_id = config["config"]["config_id"]

    conforms(document, "post", "/export", config)
    for path, template in {
        "/cameras": "/cameras",
        "/cameras/aabbccddeeff/status": "/cameras/{camera_id}/status",
        "/files": "/files",
        "/files?limit=0": "/files",
        "/events": "/events",
        f"/file/{record.file_id.hex}": "/file/{file_id}",
        "/health": "/health",
        "/ready": "/ready",
        "/capabilities": "/capabilities",
        "/login": "/login",
        "/users": "/users",
        "/accounts": "/accounts",
        "/users/station/cameras": "/users/{user_id}/cameras",
        "/export": "/export",
        "/export/states": "/export/states",
        f"/export/{config_id}": "/export/{config_id}",
        "/tokens": "/tokens",
        "/audit": "/audit",
    }.items():
        conforms(document, "get", template, node.as_admin("GET", path).json)


class Page(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.styles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [link for name in ("href", "src") if (link := values.get(name))]
        self.styles += "style" in values or any(name.startswith("on") for name in values)


@pytest.mark.contract("issue-2.4/openapi")
def test_the_page_describes_every_route_and_needs_nothing_from_elsewhere(node: Node) -> None:
    answer = node.get("/docs")
    page = Page()
    page.feed(answer.text)

    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "script" not in page.tags
    assert page.styles == 0
    for link in page.links:
        assert link.startswith(("#", "/"))
        assert link.startswith("#") or node.get(link).status_code == 200
    for operation in openapi.readable(description(node)).groups:
        assert all(each.summary in answer.text for each in operation.operations if "'" not in each.summary)


def test_descriptions_name_the_place_of_the_node(make_node: Callable[..., Node]) -> None:
    node = make_node()
    below = {"SCRIPT_NAME": "/api"}

    assert node.get("/openapi.json", environ_overrides=below).json["servers"] == [{"url": "/api"}]  # type: ignore[index]
    assert 'href="/api/docs/style.css"' in node.get("/docs", environ_overrides=below).text
    node.add_status()
    node.add_file()
    node.add_file()
    assert node.get("/files?limit=1", environ_overrides=below).json["next"].startswith("/api/files?")  # type: ignore[index]
